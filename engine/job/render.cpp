#include "engine/job/render.h"

#include <ATen/ATen.h>

#include <chrono>

#include "engine/denoise.h"
#include "engine/media/png.h"
#include "engine/media/writer.h"
#include "engine/memory.h"
#include "engine/request/params.h"
#include "models/vae/frames.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

/// Seconds and peak memory of each stage, one log line when it ends.
class StageClock {
 public:
  StageClock(const Log& log, const Target& target) : log_(log), target_(target) {}

  void end(const char* stage, Log::Fields fields = Log::Fields::object()) {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    fields["seconds"] = seconds;
    log_(stage, fields);
    totals_[stage] = seconds;
  }

  /// The last line: seconds of every stage, peak memory, the file.
  void finish(const std::string& out) {
    Log::Fields fields = {{"out", out}};
    for (const auto& [stage, seconds] : totals_.items()) fields[stage + "_seconds"] = seconds;
    fields["peak_ram_bytes"] = peak_memory(at::kCPU);
    if (target_.device.is_cuda()) fields["peak_vram_bytes"] = peak_memory(target_.device);
    log_("done", fields);
  }

 private:
  const Log& log_;
  const Target& target_;
  Log::Fields totals_ = Log::Fields::object();
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

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

at::Tensor sample(Models& models, const Request& request, const std::vector<Step>& schedule, const Encoded& encoded,
                  Progress& progress) {
  Sampling state = begin_sampling(request.solver, schedule, first_sample(request, schedule, encoded, models.target()));
  Guidance guidance(models, encoded.conditioning);
  denoise(state, schedule, int64_t(schedule.size()), std::ref(guidance), progress);
  return state.x;
}

}  // namespace

void write_input(const Request& request, const Inputs& inputs, const Record& record) {
  SavedLatents nothing{.latents = at::empty({0, 0, request.height / vae::kPixels, request.width / vae::kPixels}),
                       .frames = request.num_frames,
                       .audio_from = inputs.keep_audio_from,
                       .record = record};
  VideoWriter writer(request.out, format_of(nothing));
  writer.write(inputs.video.narrow(0, 0, request.num_frames).contiguous());
  writer.finish();
}

void render(const Request& asked, const RenderOptions& options, const Log& log, Progress& progress) {
  Request request = asked;
  Target target = resolve_target(request);
  ModelFolder folder = open_model_folder(request.model, request.task);
  StageClock clock(log, target);
  Inputs inputs = load_inputs(request, log);
  MemoryNeed need = memory_need(folder, extent_of(request), target);
  check_fits(need, extent_of(request), target);
  Record record = make_record(asked, target, identities(folder));
  log("job", {{"task", task_name(request.task)},
              {"seed", request.seed},
              {"width", request.width},
              {"height", request.height},
              {"frames", request.num_frames},
              {"device", target.device.str()},
              {"dtype", record.dtype}});

  std::vector<Step> schedule = make_schedule(request);
  if (schedule.empty()) {
    log("warning", {{"text", kNoStepText}});
    write_input(request, inputs, record);
    return clock.finish(request.out);
  }
  Models models(folder, target, need.working, log);
  TextStates text(models);
  Encoded encoded = encode(models, text, request, schedule, inputs, progress);
  clock.end("encode");
  SavedLatents saved{sample(models, request, schedule, encoded, progress), request.num_frames, inputs.keep_audio_from,
                     record};
  std::filesystem::path kept = latents_path(request.out);
  save_latents(kept, saved);
  clock.end("denoise", {{"steps", schedule.size()}, {"expert_loads", models.expert_loads()}});
  write_video(models.vae(), saved, request.out, options, progress);
  std::filesystem::remove(kept);
  clock.end("decode");
  clock.finish(request.out);
}

void decode_saved(const SavedLatents& saved, const std::string& out, const Target& target, const ModelFolder& folder,
                  const RenderOptions& options, const Log& log, Progress& progress) {
  StageClock clock(log, target);
  Extent extent{4 * saved.latents.size(1) - 3, saved.latents.size(2) * vae::kPixels,
                saved.latents.size(3) * vae::kPixels};
  Models models(folder, target, memory_need(folder, extent, target).working, log);
  write_video(models.vae(), saved, out, options, progress);
  clock.end("decode");
  clock.finish(out);
}

void write_video(const vae::Vae& vae, const SavedLatents& saved, const std::string& out, const RenderOptions& options,
                 Progress& progress, const std::string& job) {
  VideoWriter writer(out, format_of(saved));
  ContactSheet sheet(saved.frames);
  vae::DecoderStream stream(vae.decoder);
  at::Tensor latents = saved.latents.to(vae.decoder.conv2.weight.device());
  int64_t written = 0, chunks = (saved.frames + 2) / 4 + 1;
  for (int64_t chunk = 0; written < saved.frames; ++chunk) {
    progress.at({Stage::Decode, chunk, chunks, "", job});
    at::Tensor frames = vae::to_uint8(stream.next(latents.narrow(1, chunk, 1))).cpu();
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
