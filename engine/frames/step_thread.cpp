#include "engine/frames/step_thread.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace wan {

StepThread::StepThread(FrameStep& step, at::Device device) : step_(step) {
  if (device.is_cuda()) stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

/// A thread's own modes and stream. Frames come and go by the host, so that no stream waits for another.
void StepThread::run(const std::function<void()>& work) const {
  const c10::InferenceMode inference;
  std::optional<c10::StreamGuard> guard;
  if (stream_) guard.emplace(*stream_);
  work();
}

void StepThread::take(const Frames& frames, const FrameSink& next) {
  for (int64_t i = 0; i < frames.rgb.size(0); ++i) {
    const Frames one{frames.rgb.narrow(0, i, 1), frames.first + i, frames.rate};
    queue_.push([this, one, next] { run([&] { step_.take(one, next); }); });
  }
}

void StepThread::end(const FrameSink& next) {
  queue_.push([this, next] { run([&] { step_.end(next); }); });
  queue_.wait();
}

}  // namespace wan
