#include "engine/job/video_file.h"

#include <ATen/ATen.h>

#include <functional>
#include <optional>

#include "engine/frames/contact_sheet.h"
#include "engine/frames/writing_thread.h"
#include "engine/media/png.h"
#include "engine/sampling/attention_record.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

VideoFormat format_of(const Record& record, int64_t height, int64_t width, const std::string& audio_from) {
  const Request& request = record.request;
  return {.height = height,
          .width = width,
          .rate = {request.frames_per_second, 1},
          .quality = request.video_quality,
          .write_mode = request.video_write_mode,
          .metadata = to_text(record, metadata_of(request)),
          .audio = std::nullopt,
          .audio_from = audio_from};
}

/// Writes the frames that `produce` gives, `count` of them, to `out`. `format` is asked once the first of them is
/// there.
void write_frames(const std::string& out, const std::function<VideoFormat()>& format, int64_t count,
                  const OutputOptions& options,
                  const std::function<void(const std::function<void(const at::Tensor& rgb)>& take)>& produce) {
  std::optional<WritingThread> writer;
  const auto opened = [&]() -> WritingThread& { return writer ? *writer : writer.emplace(out, format()); };
  ContactSheet sheet(count);
  std::vector<FrameStep*> steps;
  if (!options.contact_sheet.empty()) steps.push_back(&sheet);
  FrameStream stream(steps, [&](const Frames& frames) { opened().write(frames.rgb); });
  produce([&](const at::Tensor& rgb) { stream.push(rgb); });
  stream.end();
  opened().finish();
  if (!options.contact_sheet.empty()) write_png(options.contact_sheet, sheet.image());
}

}  // namespace

void write_video(Networks& networks, const SavedLatents& saved, const std::string& out, const OutputOptions& options,
                 const Run& run) {
  const Extent extent{saved.frames, saved.latents.size(2) * vae::kPixels, saved.latents.size(3) * vae::kPixels};
  Record record = saved.record;
  record.vae_tiles = told_tiles(networks, run.log);
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
  write_frames(out, format, saved.frames, options,
               [&](const auto& take) { decode_frames(networks, saved.latents, saved.frames, run, take); });
}

void write_input(const Record& record, const Inputs& inputs, const std::string& out, const OutputOptions& options) {
  const Geometry& size = inputs.geometry;
  const auto format = [&] { return format_of(record, size.height, size.width, inputs.keep_audio_from); };
  write_frames(out, format, size.num_frames, options,
               [&](const auto& take) { take(inputs.video.narrow(0, 0, size.num_frames).contiguous()); });
}

}  // namespace wan
