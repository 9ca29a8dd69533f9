// The file of a speech job: its clips' pictures are encoded piece by piece, and at the end joined with the sound.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "engine/frames/quality.h"
#include "engine/frames/writing_thread.h"
#include "engine/job/frame_chain.h"
#include "engine/job/speech.h"
#include "engine/job/speech_folder.h"
#include "engine/job/video_file.h"

namespace wan {

/// Encodes each clip into a file of its own in the folder. An encoder looks at the frames before and after, so that one
/// over all clips could not go on after a break with the same bytes; one for each clip can, for one key frame more in
/// five seconds. The other way, frames as they are until the end, is 221 MB for 80 frames of 1280x720, where a piece
/// has 0.5 MB at `high` and 11 MB at `maximum`: an hour would be 160 GB instead of 0.4 or 8.
/// What a FrameChain draws between the last frame of a clip and the first of the next lies in the next one's piece, of
/// which the folder keeps the frame before. The interpolator is loaded for the frames of one clip, and goes with it: no
/// memory is taken from the steps of the next.
class SpeechPieces {
 public:
  /// `first` is the clip to go on with. The log is told of the interpolator.
  SpeechPieces(const Request& request, const SpeechPlan& plan, const SpeechFolder& folder, int64_t first,
               const FrameChain& chain, const Log& log);

  /// Frames [3, t, H, W] of the chain, in [-1, 1]; what is past the video's end is dropped.
  void show(const at::Tensor& frames);
  /// The running clip's piece is whole and on the disk.
  void finish_clip();
  /// The last frame of the finished clip, from which the next goes on: uint8 [H, W, 3]; undefined where nothing is drawn.
  at::Tensor last_frame() const { return between_ ? between_->last() : at::Tensor(); }
  /// State of what measures the frames of all clips; undefined where nothing does.
  at::Tensor quality() const { return quality_ ? quality_->state() : at::Tensor(); }
  /// Of the clips that this object has seen.
  PairCounts counts() const { return between_ ? between_->counts() : PairCounts(); }

 private:
  void begin_clip();

  VideoFormat format_;
  const SpeechFolder& folder_;
  int64_t clip_, left_;  // frames of the video still to come
  const Rational rate_;  // of the frames that are shown
  const FrameChain chain_;
  const Log log_;
  bool told_ = false;  // of the interpolator
  std::optional<OpenInterpolator> interpolator_;
  std::optional<InterpolateStep> between_;  // of all clips
  std::optional<QualityStep> quality_;      // the same
  std::optional<WritingThread> writer_;
  std::optional<FrameStream> stream_;
  std::optional<StepThread> thread_;  // last: it uses all of the above
};

/// Joins all pieces and the sound of `audio` to `out`, with the record inside, and makes the contact sheet. Returns the
/// record's quality with the times of the file's streams, as the file has it; nothing where it has none. Throws
/// std::runtime_error where a piece is damaged, and then forgets the clips: without the frames before it a clip cannot
/// be made anew, and those are in the motion of the clip before alone, which is gone. Throws Cancelled between clips.
/// `safety`: looks at the frames of the pieces that the model made, whatever run made them, before the file is written; what
/// it says is in the record, is returned, and decides what becomes of the file (place_video). Throws SafetyRefusal.
VideoFindings join_speech(const std::string& out, const SpeechPlan& plan, const MediaFile& audio, const Record& record,
                          const SpeechFolder& folder, const OutputOptions& options, const Run& run,
                          const OutputSafety& safety = {}, const Placement& placement = {});

}  // namespace wan
