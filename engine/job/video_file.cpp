#include "engine/job/video_file.h"

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "engine/frames/contact_sheet.h"
#include "engine/frames/writing_thread.h"
#include "engine/media/png.h"
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

/// Writes frames to `out` through the chain.
class ChainWriter {
 public:
  /// `run`: how many frames come, and at which rate.
  ChainWriter(std::string out, const FrameRun& run, const FrameChain& chain, int64_t height, int64_t width,
              const OutputOptions& options, const Log& log)
      : out_(std::move(out)),
        options_(options),
        log_(log),
        sheet_(chain.how.frames(run.frames)),
        running_(chain, height, width, log) {
    std::vector<FrameStep*> steps = running_.steps();
    if (!options.contact_sheet.empty()) steps.push_back(&sheet_);
    stream_.emplace(
        std::move(steps), [this](const Frames& frames) { writer_->write(frames.rgb); }, run.rate);
  }

  /// What `produce` gives; `format` is asked once the first of it is there.
  void write(const std::function<VideoFormat()>& format,
             const std::function<void(const std::function<void(const at::Tensor& rgb)>& take)>& produce) {
    produce([&](const at::Tensor& rgb) {
      if (!writer_) writer_.emplace(out_, format());
      stream_->push(rgb);
    });
    stream_->end();
    running_.tell(log_);
    if (!writer_) throw std::logic_error("[ChainWriter] no frame came");
    writer_->finish();
    if (!options_.contact_sheet.empty()) write_png(options_.contact_sheet, sheet_.image());
  }

 private:
  const std::string out_;
  const OutputOptions& options_;
  const Log& log_;
  std::optional<WritingThread> writer_;
  ContactSheet sheet_;
  std::optional<FrameStream> stream_;
  RunningChain running_;  // last: its thread uses all of the above
};

}  // namespace

void write_video(Networks& networks, const SavedLatents& saved, const std::string& out, const OutputOptions& options,
                 const Run& run, const FrameChain& chain) {
  const Extent extent{saved.frames, saved.latents.size(2) * vae::kPixels, saved.latents.size(3) * vae::kPixels};
  Record record = saved.record;
  record.vae_tiles = told_tiles(networks, run.log);
  record.drawing = details_of(chain, extent.height, extent.width);
  const auto format = [&] {
    // The middle attention of all frames is of one case, chosen before the first is there. Frames that are done again
    // in float32 have another, which one back end alone takes.
    AttentionChoices choices = networks.placement().context->choices();
    // The VAE has no such arithmetic.
    std::erase_if(choices, [](const auto& choice) { return kernels::is_of_8_bits(choice.first); });
    choices.merge(record.attention);  // what is used now stands, also where another one was pinned
    record.attention = std::move(choices);
    return format_of(record, extent.height, extent.width, saved.audio_from);
  };
  // The VAE first: what does not stay beside it goes before the interpolator takes its room.
  if (chain.how.is_on()) networks.vae();
  const FrameRun frames{saved.frames, {record.request.frames_per_second, 1}};
  ChainWriter writer(out, frames, chain, extent.height, extent.width, options, run.log);
  writer.write(format, [&](const auto& take) { decode_frames(networks, saved.latents, saved.frames, run, take); });
}

void write_input(const Record& record, const Inputs& inputs, const std::string& out, const OutputOptions& options,
                 const FrameChain& chain, const Log& log) {
  const Geometry& size = inputs.geometry;
  const auto format = [&] {
    Record said = record;
    said.drawing = details_of(chain, size.height, size.width);
    return format_of(said, size.height, size.width, inputs.keep_audio_from);
  };
  const FrameRun frames{size.num_frames, {record.request.frames_per_second, 1}};
  ChainWriter writer(out, frames, chain, size.height, size.width, options, log);
  writer.write(format, [&](const auto& take) { take(inputs.video.narrow(0, 0, size.num_frames).contiguous()); });
}

}  // namespace wan
