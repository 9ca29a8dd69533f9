#include "engine/job/video_file.h"

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "engine/base/error.h"
#include "engine/frames/contact_sheet.h"
#include "engine/frames/quality.h"
#include "engine/frames/writing_thread.h"
#include "engine/media/container.h"
#include "engine/media/kept_sound.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/sampling/attention_record.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

VideoFormat format_of(const Record& record, int64_t height, int64_t width, const std::string& audio_from) {
  const Rational generated{record.request.frames_per_second, 1};
  const Request& request = record.request;
  return {.height = height,
          .width = width,
          .rate = interpolation_of(request).rate(generated),
          .quality = request.video_quality,
          .write_mode = request.video_write_mode,
          .metadata = to_text(record, metadata_of(request)),
          .audio = std::nullopt,
          .audio_from = audio_from};
}

/// When the stream of the sound that is kept of a file is to begin in `out`. What is encoded begins with the picture, by
/// silence where it is late.
double delay_of(const std::string& audio_from, const std::string& out) {
  if (audio_from.empty()) return 0;
  const MediaFile file{audio_from, "video_url"};
  try {
    return kept_sound(file, container_of(out)).keeping == Keeping::Copied ? sound_delay(file).value_or(0) : 0;
  } catch (const InvalidRequest&) {
    return 0;  // no picture that can be shown: its sound is its beginning
  }
}

/// Writes frames to `out` through the chain.
class ChainWriter {
 public:
  /// `run`: how many frames come, and at which rate. `progress` may be null.
  ChainWriter(std::string out, const FrameRun& run, const FrameChain& chain, int64_t height, int64_t width,
              const OutputOptions& options, const Log& log, Progress* progress, std::string label)
      : out_(std::move(out)),
        chain_(chain),
        options_(options),
        log_(log),
        progress_(progress),
        label_(std::move(label)),
        frames_(chain.how.frames(run.frames)),
        sheet_(frames_),
        running_(chain, run.frames, height, width, log) {
    if (chain.measures) quality_.emplace();
    std::vector<FrameStep*> steps = running_.steps();
    if (quality_) steps.insert(steps.begin(), &*quality_);
    if (!options.contact_sheet.empty()) steps.push_back(&sheet_);
    stream_.emplace(
        std::move(steps), [this](const Frames& frames) { writer_->write(frames.rgb); }, run.rate);
  }

  /// What `produce` gives; `record` is asked once the first of it is there. Sound is that of the file `audio_from`.
  VideoFindings write(const std::function<Record()>& record, int64_t height, int64_t width,
                      const std::string& audio_from,
                      const std::function<void(const std::function<void(const at::Tensor& rgb)>& take)>& produce) {
    Record said;
    VideoFormat format;
    produce([&](const at::Tensor& rgb) {
      if (!writer_) {
        said = record();
        format = format_of(said, height, width, audio_from);
        writer_.emplace(out_, format);
      }
      stream_->push(rgb);
    });
    stream_->end();
    running_.tell(log_);
    if (!writer_) throw std::logic_error("[ChainWriter] no frame came");
    VideoFindings found{running_.verdict(), {}};
    log_safety(found.safety, log_);
    if (quality_) {
      found.quality = quality_->result();
      add_times(*found.quality, writer_->flush(), delay_of(audio_from, out_));
    }
    if (found.safety.is_there() || found.quality) {
      said.safety = found.safety;
      said.quality = found.quality;
      format.metadata = to_text(said, metadata_of(said.request));
      if (!format.metadata.empty()) writer_->tell(format.metadata);
    }
    const bool blurred = place_video(
        out_, chain_.safety, found.safety, format, [&](const std::string& path) { writer_->finish(path); }, progress_,
        label_);
    if (options_.contact_sheet.empty()) return found;
    if (blurred)
      write_sheet(options_.contact_sheet, out_, frames_);
    else
      write_png(options_.contact_sheet, sheet_.image());
    return found;
  }

 private:
  const std::string out_;
  const FrameChain& chain_;
  const OutputOptions& options_;
  const Log& log_;
  Progress* const progress_;
  const std::string label_;
  const int64_t frames_;  // of the file
  std::optional<WritingThread> writer_;
  ContactSheet sheet_;
  std::optional<QualityStep> quality_;
  std::optional<FrameStream> stream_;
  RunningChain running_;  // last: its thread uses all of the above
};

}  // namespace

void add_times(QualityNumbers& quality, const StreamTimes& times, double delay) {
  if (!times.sound) return;
  const double offset = times.sound->start - times.picture.start;
  quality.sound_offset = rounded(1000 * offset);
  quality.sound_shift = rounded(1000 * (offset - delay));
  quality.sound_excess = rounded(1000 * (times.sound->end - times.picture.end));
}

void write_sheet(const std::string& path, const std::string& video, int64_t frames) {
  ContactSheet sheet(frames);
  VideoReader reader({video, "out"});
  while (std::optional<VideoFrame> frame = reader.next()) sheet.add(frame->rgb.unsqueeze(0));
  write_png(path, sheet.image());
}

VideoFindings write_video(Networks& networks, const SavedLatents& saved, const std::string& out,
                          const OutputOptions& options, const Run& run, const FrameChain& chain) {
  const Extent extent{saved.frames, saved.latents.size(2) * vae::kPixels, saved.latents.size(3) * vae::kPixels};
  Record record = saved.record;
  record.vae_tiles = told_tiles(networks, run.log);
  record.drawing = details_of(chain, extent.height, extent.width);
  const auto told = [&] {
    // The middle attention of all frames is of one case, chosen before the first is there. Frames that are done again
    // in float32 have another, which one back end alone takes.
    AttentionChoices choices = networks.placement().context->choices();
    // The VAE has no such arithmetic.
    std::erase_if(choices, [](const auto& choice) { return kernels::is_of_8_bits(choice.first); });
    choices.merge(record.attention);  // what is used now stands, also where another one was pinned
    record.attention = std::move(choices);
    return record;
  };
  // The VAE first: what does not stay beside it goes before the interpolator and the checker take their room.
  if (chain.how.is_on() || chain.safety.watches()) networks.vae();
  const FrameRun frames{saved.frames, {record.request.frames_per_second, 1}};
  ChainWriter writer(out, frames, chain, extent.height, extent.width, options, run.log, &run.progress, run.label);
  return writer.write(told, extent.height, extent.width, saved.audio_from,
                      [&](const auto& take) { decode_frames(networks, saved.latents, saved.frames, run, take); });
}

VideoFindings write_input(const Record& record, const Inputs& inputs, const std::string& out,
                          const OutputOptions& options, const FrameChain& chain, const Log& log, Progress* progress) {
  const Geometry& size = inputs.geometry;
  const auto told = [&] {
    Record said = record;
    said.drawing = details_of(chain, size.height, size.width);
    return said;
  };
  const FrameRun frames{size.num_frames, {record.request.frames_per_second, 1}};
  ChainWriter writer(out, frames, chain, size.height, size.width, options, log, progress, "");
  return writer.write(told, size.height, size.width, inputs.keep_audio_from,
                      [&](const auto& take) { take(inputs.video.narrow(0, 0, size.num_frames).contiguous()); });
}

}  // namespace wan
