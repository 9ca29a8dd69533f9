#include "engine/job/render.h"

#include <ATen/ATen.h>

#include "engine/frames/contact_sheet.h"
#include "engine/job/fetched.h"
#include "engine/job/stage_clock.h"
#include "engine/media/png.h"
#include "engine/media/writer.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/residency/needs.h"
#include "engine/sampling/attention_record.h"
#include "engine/sampling/denoise.h"
#include "models/vae/frames.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

Extent extent_of(const Request& request) {
  return {request.rendered_frames(), request.height, request.width};
}

VideoFormat format_of(const SavedLatents& saved) {
  const Request& request = saved.record.request;
  return {.height = saved.latents.size(2) * vae::kPixels,
          .width = saved.latents.size(3) * vae::kPixels,
          .rate = {request.frames_per_second, 1},
          .quality = request.video_quality,
          .write_mode = request.video_write_mode,
          .metadata = to_text(saved.record),
          .audio = std::nullopt,
          .audio_from = saved.audio_from};
}

/// A later `decode` may be called from another folder.
std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).string();
}

/// Where the sound of a URL waits for the latents of `out` to be decoded. Not where a copy is fetched to: a run that
/// begins again leaves the latents that are kept there their sound.
std::string sound_path(const std::string& out) {
  return latents_path(out).string() + ".sound";
}

/// Whether the sound that the latents name is such a copy, and no file of the user's. Records do not tell `out`.
bool keeps_copy(const SavedLatents& saved) {
  return is_url(saved.record.request.video_url) && saved.audio_from.ends_with(sound_path(""));
}

/// Removes copies that a killed run left where this one fetches to: by now a URL may give other bytes.
void drop_stale_copies(const Request& request, const std::string& prefix) {
  for (const std::string* url : {&request.image_url, &request.last_image_url, &request.video_url})
    if (is_url(*url)) std::filesystem::remove(copy_path(prefix, *url));
}

at::Tensor sample(Networks& networks, const Request& request, const std::vector<Step>& schedule, const Encoded& encoded,
                  Progress& progress) {
  Sampling state =
      begin_sampling(request.solver, schedule, first_sample(request, schedule, encoded, networks.placement()));
  Guidance guidance(networks, encoded.conditioning);
  denoise(state, schedule, int64_t(schedule.size()), std::ref(guidance), progress);
  return state.x;
}

}  // namespace

void write_input(const Request& request, const Inputs& inputs, const Record& record, const RenderOptions& options) {
  SavedLatents nothing{.latents = at::empty({0, 0, request.height / vae::kPixels, request.width / vae::kPixels}),
                       .frames = request.num_frames,
                       .audio_from = inputs.keep_audio_from,
                       .record = record};
  VideoWriter writer(request.out, format_of(nothing));
  const at::Tensor frames = inputs.video.narrow(0, 0, request.num_frames).contiguous();
  writer.write(frames);
  writer.finish();
  if (options.contact_sheet.empty()) return;
  ContactSheet sheet(request.num_frames);
  sheet.add(frames);
  write_png(options.contact_sheet, sheet.image());
}

void render(const Request& asked, const RenderOptions& options, const Log& log, Progress& progress) {
  Request request = asked;
  Placement placement = resolve_placement(request, options.contexts);
  ModelFolder folder = open_model_folder(request.model, request.task);
  StageClock clock(log, placement);
  drop_stale_copies(request, request.out + ".");
  FetchedMedia media(request, request.out + ".");
  Inputs inputs;
  media.reading([&] { inputs = load_inputs(request, log); });
  MemoryNeed need = memory_need(folder, extent_of(request), placement);
  check_fits(need, extent_of(request), placement);
  Record record = make_record(asked, placement, identities(folder));
  log("job", {{"task", task_name(request.task)},
              {"seed", request.seed},
              {"width", request.width},
              {"height", request.height},
              {"frames", request.num_frames},
              {"device", placement.device.str()},
              {"dtype", record.dtype},
              {"precision", request.precision}});

  std::vector<Step> schedule = make_schedule(request);
  if (schedule.empty()) {
    log("warning", {{"text", kNoStepText}});
    write_input(request, inputs, record, options);
    return clock.finish(request.out);
  }
  Networks networks(folder, placement, need.working, log);
  TextStates text(networks);
  warn_of_kernels(*placement.context, log);
  warn_of_cudnn(placement, log);
  Encoded encoded = encode(networks, text, request, schedule, inputs, progress);
  clock.end("encode");
  at::Tensor latents = sample(networks, request, schedule, encoded, progress);
  record.attention = placement.context->choices();
  log_attention(*placement.context, log);
  SavedLatents saved{.latents = latents,
                     .frames = request.num_frames,
                     .audio_from = absolute(inputs.keep_audio_from),
                     .record = record};
  std::filesystem::path kept = latents_path(request.out);
  // The latents need the sound, and a URL may give other bytes, or none, by the time they are decoded.
  if (!saved.audio_from.empty() && is_url(asked.video_url)) {
    const std::string fetched = std::exchange(saved.audio_from, absolute(sound_path(request.out)));
    std::filesystem::rename(fetched, saved.audio_from);
  }
  save_latents(kept, saved);
  clock.end("denoise", {{"steps", schedule.size()}, {"expert_loads", networks.expert_loads()}});
  try {
    write_video(networks, saved, request.out, options, progress);
  } catch (...) {
    log("kept", {{"latents", kept.string()}, {"finish_with", "wan-infer decode " + kept.string()}});
    throw;
  }
  std::filesystem::remove(kept);
  if (keeps_copy(saved)) std::filesystem::remove(saved.audio_from);
  clock.end("decode");
  clock.finish(request.out);
}

void decode_saved(SavedLatents saved, const std::string& out, const Placement& placement, const ModelFolder& folder,
                  const RenderOptions& options, const Log& log, Progress& progress) {
  StageClock clock(log, placement);
  const std::string copy = keeps_copy(saved) ? saved.audio_from : "";
  if (!saved.audio_from.empty() && !std::filesystem::exists(saved.audio_from)) {
    log("warning", {{"text", "the sound is left out: there is no file " + saved.audio_from}});
    saved.audio_from.clear();
  }
  Extent extent{4 * saved.latents.size(1) - 3, saved.latents.size(2) * vae::kPixels,
                saved.latents.size(3) * vae::kPixels};
  const MemoryNeed need = decode_need(folder, extent, placement);
  check_fits(need, extent, placement);
  Networks networks(folder, placement, need.working, log);
  warn_of_cudnn(placement, log);
  write_video(networks, saved, out, options, progress);
  if (!copy.empty()) std::filesystem::remove(copy);
  clock.end("decode");
  clock.finish(out);
}

at::Tensor decode_chunk(ClipDecoder& decoder, const at::Tensor& latents, int64_t chunk) {
  at::Tensor frames = decoder.next(latents.narrow(1, chunk, 1));
  if (frames.isfinite().all().item<bool>()) return frames;
  throw std::runtime_error("[decode] chunk " + std::to_string(chunk + 1) + " of " + std::to_string(latents.size(1)) +
                           " gave NaN or Inf; the VAE's file, or the latents, may be damaged");
}

void write_video(Networks& networks, const SavedLatents& saved, const std::string& out, const RenderOptions& options,
                 Progress& progress, const std::string& job) {
  VideoWriter writer(out, format_of(saved));
  ContactSheet sheet(saved.frames);
  ClipDecoder decoder(networks);
  int64_t written = 0, chunks = (saved.frames + 2) / 4 + 1;
  for (int64_t chunk = 0; written < saved.frames; ++chunk) {
    progress.at({Stage::Decode, chunk, chunks, "", job});
    at::Tensor frames = vae::to_uint8(decode_chunk(decoder, saved.latents, chunk)).cpu();
    frames = frames.narrow(0, 0, std::min(frames.size(0), saved.frames - written));
    writer.write(frames);
    if (!options.contact_sheet.empty()) sheet.add(frames);
    written += frames.size(0);
  }
  progress.at({Stage::Decode, chunks, chunks, "", job});
  writer.finish();
  if (!options.contact_sheet.empty()) write_png(options.contact_sheet, sheet.image());
}

}  // namespace wan
