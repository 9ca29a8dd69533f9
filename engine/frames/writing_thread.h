// A video's encoder beside its decoder: frames are converted and encoded by a thread of their own while the next ones
// are made.
#pragma once

#include <string>

#include "engine/media/writer.h"
#include "models/files/task_queue.h"

namespace wan {

/// A VideoWriter, whose frames wait in a short queue: memory does not grow with the video. The file has the same bytes.
/// What the encoder or the disk throws comes out of the next call.
class WritingThread {
 public:
  WritingThread(const std::string& path, const VideoFormat& format) : writer_(path, format) {}

  /// As VideoWriter's; the tensor must not be written to afterwards.
  void write(const at::Tensor& frames);
  /// As VideoWriter's, once all frames that came are encoded.
  void tell(const std::string& metadata);
  StreamTimes flush();
  /// As VideoWriter's: when all frames are encoded, completes the file and puts it in its place, or under another name.
  void finish(const std::string& instead = "");

 private:
  VideoWriter writer_;
  TaskQueue queue_{2};  // pieces of a latent frame each; last: it ends before the writer goes
};

}  // namespace wan
