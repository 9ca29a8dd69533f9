#include "engine/job/calibrate.h"

#include "engine/base/error.h"
#include "engine/job/scheduler.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/model_reuse.h"
#include "models/files/scratch_folder.h"

namespace wan {

namespace {

/// What is measured: all steps, as a render without acceleration makes them.
Request measured_request(const Request& asked) {
  Request request = asked;
  request.acceleration = "none";
  request.calibration.clear();
  request.guidance_interval = "0:1";
  request.guidance_until = 0;
  request.metadata = "none";
  request.interpolator_model = "none";
  request.out_given = true;
  return request;
}

std::vector<JobRequest> jobs_of(const Request& request, const std::vector<std::string>& prompts,
                                const std::filesystem::path& folder) {
  std::vector<JobRequest> jobs;
  for (size_t i = 0; i < prompts.size(); ++i) {
    JobRequest& job = jobs.emplace_back();
    job.line = int64_t(i) + 1;
    job.request = request;
    job.request.prompt = prompts[i];
    job.request.seed = request.seed + i;
    job.request.seed_given = true;
    job.name = "video " + std::to_string(i + 1);
    job.request.out = (folder / (std::to_string(i + 1) + ".mp4")).string();
  }
  return jobs;
}

}  // namespace

const std::vector<std::string>& calibration_prompts() {
  static const std::vector<std::string> prompts = {
      "a red fox walks through fresh snow in a pine forest at dawn, the camera follows it from the side",
      "waves break over black rocks on a rainy evening, wide shot, slow motion",
      "a woman in a yellow raincoat laughs and turns towards the camera in a crowded street at night",
      "close-up of hands that knead dough on a wooden table, warm light from a window",
      "an old steam train crosses a stone bridge above a green valley, seen from the air",
      "two children chase a dog across a sunny meadow, handheld camera",
      "a glass sphere with a small city inside turns slowly on a white table, studio light",
      "a watercolour animation of a sailing boat on a calm lake while the sun sets",
  };
  return prompts;
}

Calibration calibrate(const Request& asked, const std::vector<std::string>& prompts, Contexts* contexts, const Log& log,
                      Progress& progress) {
  const Request request = measured_request(asked);
  const ScratchFolder scratch;
  WorkFolder folder(scratch.path / "work", 0);
  const Placement placement = resolve_placement(request, contexts);
  ResidualMeter meter(placement.dtype);
  RunOptions options;
  options.contexts = contexts;
  options.fail_fast = true;
  options.meter = &meter;
  const RunResult result = run_jobs(jobs_of(request, prompts, scratch.path), folder, options, log, progress);
  for (const JobResult& job : result.jobs)
    if (job.failure) std::rethrow_exception(job.failure);
  if (result.cancelled) throw Cancelled();
  const ModelParts parts = find_parts(request);
  Calibration made;
  made.task = request.task;
  made.solver = request.solver;
  made.dtype = placement.dtype == at::kBFloat16 ? "bf16" : "float32";
  made.precision = request.precision;
  made.shift = request.shift;
  made.boundary = request.boundary;
  made.guidance_scale = request.guidance_scale;
  made.guidance_scale_2 = request.guidance_scale_2;
  made.width = request.width;
  made.height = request.height;
  made.num_frames = request.num_frames;
  made.videos = int64_t(prompts.size());
  made.networks = calibrated_networks(parts, identities(parts));
  made.steps = meter.means(make_schedule(request));
  return made;
}

}  // namespace wan
