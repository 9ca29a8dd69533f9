// A step of the chain on a thread of its own, so that it works while the steps before and behind it do.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <functional>
#include <optional>

#include "engine/frames/stream.h"
#include "models/files/task_queue.h"

namespace wan {

/// Frames wait in a short queue, one by one, so that memory does not grow with the stream. What is behind the step is
/// called on its thread alone, until wait() has returned. What the step, or what is behind it, throws comes out of the
/// next call.
class StepThread : public FrameStep {
 public:
  /// `step` must outlive this. Where `device` is a GPU its work goes to a stream of its own there.
  StepThread(FrameStep& step, at::Device device);

  void take(const Frames& frames, const FrameSink& next) override;
  /// Until the step has taken everything and has ended, too.
  void end(const FrameSink& next) override;
  /// Until the step has taken everything; more may come.
  void wait() { queue_.wait(); }

 private:
  void run(const std::function<void()>& work) const;

  FrameStep& step_;
  std::optional<c10::Stream> stream_;  // of a GPU
  TaskQueue queue_{2};                 // frames that wait; last: it ends before the rest goes
};

}  // namespace wan
