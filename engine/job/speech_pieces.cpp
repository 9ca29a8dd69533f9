#include "engine/job/speech_pieces.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "engine/media/joined_video.h"
#include "engine/media/video_reader.h"
#include "models/vae/frames.h"

namespace wan {

namespace {

/// The file's sound for the muxer: given out as far as the picture has come.
class SoundTrack {
 public:
  SoundTrack(const MediaFile& sound, double seconds)
      : reader_(sound, Mix::Stereo, sound_rate(AudioReader(sound, Mix::Stereo).rate())),
        left_(std::llround(seconds * double(reader_.rate()))) {}

  AudioFormat format() const { return {reader_.rate(), reader_.channels()}; }

  void write_until(JoinedVideo& video, double seconds) {
    while (left_ > 0 && double(written_) < seconds * double(reader_.rate())) {
      at::Tensor piece = reader_.next();
      if (!piece.defined()) return;
      piece = piece.narrow(1, 0, std::min(left_, piece.size(1))).contiguous();
      video.write_audio(piece);
      left_ -= piece.size(1);
      written_ += piece.size(1);
    }
  }

 private:
  AudioReader reader_;
  int64_t left_, written_ = 0;
};

VideoFormat format_of(const Request& request, const SpeechPlan& plan) {
  return {.height = plan.geometry.height,
          .width = plan.geometry.width,
          .rate = interpolation_of(request).rate({request.frames_per_second, 1}),
          .quality = request.video_quality,
          .write_mode = request.video_write_mode};
}

/// Frames of the video that come before `clip`.
int64_t frames_before(const SpeechPlan& plan, int64_t clip) {
  if (clip == 0) return 0;
  return std::min(plan.frames, chained_frames({plan.clips.begin(), plan.clips.begin() + clip}, plan.chain));
}

/// What the checker says of the frames in all pieces, but for those that were drawn between: the memory of a few frames,
/// and the same whichever run made which piece. Throws BadPiece.
SafetyRecord look_at_pieces(const SpeechPlan& plan, const Interpolation& how, const SpeechFolder& folder,
                            const Run& run, const OutputSafety& safety, const Placement& placement) {
  OutputWatch watch(safety, placement, plan.frames);
  if (!watch.step()) return watch.verdict();
  const int64_t all = int64_t(plan.clips.size()), apart = how.is_on() ? how.between + 1 : 1;
  FrameStream stream({watch.step()}, [](const Frames&) {});
  int64_t index = 0;
  for (int64_t clip = 0; clip < all; ++clip) {
    run.progress.at({Stage::Write, clip, all, "", run.label});
    try {
      VideoReader reader({folder.piece(clip), "out"});
      while (std::optional<VideoFrame> frame = reader.next())
        if (index++ % apart == 0) stream.push(frame->rgb.unsqueeze(0));
    } catch (const InvalidRequest& unreadable) {
      throw BadPiece(unreadable.what());
    }
  }
  stream.end();
  return watch.verdict();
}

}  // namespace

SpeechPieces::SpeechPieces(const Request& request, const SpeechPlan& plan, const SpeechFolder& folder, int64_t first,
                           const FrameChain& chain, const Log& log)
    : format_(format_of(request, plan)),
      folder_(folder),
      clip_(first),
      left_(plan.frames - frames_before(plan, first)),
      rate_{request.frames_per_second, 1},
      chain_(chain),
      log_(log) {
  if (chain.measures) {
    quality_.emplace();
    // Clips that were made unmeasured are left out, and the number of frames says so.
    if (const at::Tensor before = first > 0 ? folder.quality() : at::Tensor(); before.defined())
      quality_->restore(before);
  }
  if (!chain.how.is_on()) return;
  between_.emplace(chain.how, nullptr);
  if (first > 0 && left_ > 0) between_->go_on_after(folder.last_frame());
}

void SpeechPieces::begin_clip() {
  writer_.emplace(folder_.piece(clip_), format_);
  std::vector<FrameStep*> steps;
  if (quality_) {
    quality_->begin_clip();
    steps.push_back(&*quality_);
  }
  if (between_) {
    interpolator_.emplace(chain_.interpolator, chain_.placement, format_.height, format_.width, told_ ? Log() : log_);
    told_ = true;
    between_->use(&interpolator_->network());
    thread_.emplace(*between_, chain_.placement.device);
    steps.push_back(&*thread_);
  }
  stream_.emplace(
      std::move(steps), [this](const Frames& shown) { writer_->write(shown.rgb); }, rate_);
}

void SpeechPieces::show(const at::Tensor& frames) {
  const int64_t count = std::min(frames.size(1), left_);
  if (count <= 0) return;
  if (!writer_) begin_clip();
  stream_->push(vae::to_uint8(frames.narrow(1, 0, count)).cpu());
  left_ -= count;
}

void SpeechPieces::finish_clip() {
  if (!writer_) return;
  stream_->end();
  writer_->finish();
  if (between_) between_->use(nullptr);
  thread_.reset();
  interpolator_.reset();
  stream_.reset();
  writer_.reset();
  ++clip_;
}

VideoFindings join_speech(const std::string& out, const SpeechPlan& plan, const MediaFile& audio, const Record& record,
                          const SpeechFolder& folder, const OutputOptions& options, const Run& run,
                          const OutputSafety& safety, const Placement& placement) try {
  const Request& request = record.request;
  const Interpolation how = interpolation_of(request);
  Record whole = record;
  whole.safety = look_at_pieces(plan, how, folder, run, safety, placement);
  log_safety(whole.safety, run.log);
  SoundTrack sound(audio, plan.seconds);
  VideoFormat format = format_of(request, plan);
  format.metadata = to_text(whole, metadata_of(request));
  format.audio = sound.format();
  JoinedVideo video(out, folder.piece(0), format);
  for (int64_t clip = 0; clip < int64_t(plan.clips.size()); ++clip) {
    run.progress.at({Stage::Write, clip, int64_t(plan.clips.size()), "", run.label});
    const int64_t shown = how.frames(frames_before(plan, clip + 1));
    video.append(folder.piece(clip), shown - how.frames(frames_before(plan, clip)));
    sound.write_until(video, FrameRun{shown, format.rate}.seconds());
  }
  sound.write_until(video, double(plan.frames) / double(request.frames_per_second) + 1);
  if (whole.quality) {
    add_times(*whole.quality, video.flush());
    format.metadata = to_text(whole, metadata_of(request));
    if (!format.metadata.empty()) video.tell(format.metadata);
  }
  place_video(
      out, safety, whole.safety, format, [&](const std::string& path) { video.finish(path); }, &run.progress,
      run.label);
  if (!options.contact_sheet.empty()) write_sheet(options.contact_sheet, out, how.frames(plan.frames));
  return {whole.safety, whole.quality};
} catch (const BadPiece& bad) {
  folder.forget_clips();
  throw std::runtime_error(std::string(bad.what()) +
                           "; it is damaged, and the clips are removed: the same command renders them again");
}

}  // namespace wan
