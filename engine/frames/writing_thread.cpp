#include "engine/frames/writing_thread.h"

#include <c10/core/InferenceMode.h>

namespace wan {

void WritingThread::write(const at::Tensor& frames) {
  queue_.push([this, frames] {
    const c10::InferenceMode inference;  // a thread's own
    writer_.write(frames);
  });
}

void WritingThread::tell(const std::string& metadata) {
  queue_.wait();
  writer_.tell(metadata);
}

StreamTimes WritingThread::flush() {
  queue_.wait();
  return writer_.flush();
}

void WritingThread::finish(const std::string& instead) {
  queue_.wait();
  writer_.finish(instead);
}

}  // namespace wan
