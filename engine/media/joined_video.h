// Videos that were encoded one by one, as one file with one sound: packets are copied, nothing is encoded again.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "engine/media/writer.h"

namespace wan {

/// A piece that cannot go into the file: to be made anew, and the file with it.
struct BadPiece : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The file appears under its name at finish(), as VideoWriter's does.
class JoinedVideo {
 public:
  /// `first` is one of the pieces: all come from VideoWriters of one format. Of `format` rate, metadata and audio
  /// count. Throws BadPiece where the piece cannot be read, std::runtime_error where the disk refuses.
  JoinedVideo(const std::string& path, const std::string& first, const VideoFormat& format);
  ~JoinedVideo();

  /// Puts the pictures of a piece behind those before. Throws BadPiece where it cannot be read, is of another format
  /// than the first or does not give `frames` pictures; std::runtime_error where the disk refuses.
  void append(const std::string& piece, int64_t frames);
  /// float32 [channels, n], as it goes on.
  void write_audio(const at::Tensor& samples);
  /// As VideoWriter's.
  void tell(const std::string& metadata);
  StreamTimes flush();
  /// Completes the file and puts it in its place, or under the name `instead` beside it.
  void finish(const std::string& instead = "");

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan
