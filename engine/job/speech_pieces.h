// The file of a speech job: its clips' pictures are encoded piece by piece, and at the end joined with the sound.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "engine/frames/writing_thread.h"
#include "engine/job/speech.h"
#include "engine/job/speech_folder.h"
#include "engine/job/video_file.h"

namespace wan {

/// Encodes each clip into a file of its own in the folder. An encoder looks at the frames before and after, so that one
/// over all clips could not go on after a break with the same bytes; one for each clip can, for one key frame more in
/// five seconds. The other way, frames as they are until the end, is 221 MB for 80 frames of 1280x720, where a piece
/// has 0.5 MB at `high` and 11 MB at `maximum`: an hour would be 160 GB instead of 0.4 or 8.
class SpeechPieces {
 public:
  /// `first` is the clip to go on with.
  SpeechPieces(const Request& request, const SpeechPlan& plan, const SpeechFolder& folder, int64_t first);

  /// Frames [3, t, H, W] of the chain, in [-1, 1]; what is past the video's end is dropped.
  void show(const at::Tensor& frames);
  /// The running clip's piece is whole and on the disk.
  void finish_clip();

 private:
  VideoFormat format_;
  const SpeechFolder& folder_;
  int64_t clip_, left_;  // frames of the video still to come
  std::optional<WritingThread> writer_;
};

/// Joins all pieces and the sound of `audio` to `out`, with the record inside, and makes the contact sheet. Throws
/// std::runtime_error where a piece is damaged, and then forgets the clips: without the frames before it a clip cannot
/// be made anew, and those are in the motion of the clip before alone, which is gone. Throws Cancelled between clips.
void join_speech(const std::string& out, const SpeechPlan& plan, const MediaFile& audio, const Record& record,
                 const SpeechFolder& folder, const OutputOptions& options, const Run& run);

}  // namespace wan
