#include "engine/job/calibrate.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/scheduler.h"
#include "engine/request/version.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/model_reuse.h"
#include "models/files/error.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Notes of the work folder: whose work it holds, and what was measured of a run, under its name behind kMeasured.
constexpr const char *kAsked = "calibrate", *kSeed = "seed", *kMeasured = "measured ", *kSteps = "steps";
constexpr const char* kKey = "job";  // WorkFolder::note's key, in the note

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

/// Speech needs the frames of a clip for the next one, so that it writes videos: to a folder that goes with the work.
std::vector<JobRequest> jobs_of(const Request& request, const std::vector<std::string>& prompts,
                                const WorkFolder& work) {
  const fs::path folder = work.file(std::string(32, '0'), "videos");
  fs::create_directories(folder);
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

void check_measurable(const Schedule& schedule) {
  for (int64_t i = 1; i < schedule.size(); ++i)
    if (schedule[i].high == schedule[i - 1].high) return;
  throw InvalidRequest("num_inference_steps",
                       "must give one expert two steps or more, as a ratio is of two, and the run makes " +
                           std::to_string(schedule.size()) + (schedule.size() == 1 ? " step" : " steps") +
                           " in all; more steps, or of v2v a higher --strength, give it some");
}

/// All that the measured ratios depend on, but for the seed.
json asked_of(const Request& request, const std::vector<std::string>& prompts, const Placement& placement,
              const std::vector<FileIdentity>& files) {
  json requests = json::array(), digests = json::array();
  JobNames names;
  Request one = request;
  for (const std::string& prompt : prompts) {
    one.prompt = prompt;
    requests.push_back(names.key_of(one, /*with_seed=*/false));
  }
  for (const FileIdentity& file : files) digests.push_back({file.part, file.digest});
  return {{"requests", requests},
          {"files", digests},
          {"device", placement.device.str()},
          {"dtype", int(placement.dtype)},
          {"version", version()}};
}

bool is_same(const json& note, const json& asked) {
  for (const auto& [name, value] : asked.items())
    if (note.value(name, json()) != value) return false;
  return true;
}

bool is_measured(const json& note) {
  return note.value(kKey, "").starts_with(kMeasured);
}

/// Whether the folder holds what took long to compute.
bool holds_results(const WorkFolder& folder) {
  return folder.holds_steps() || folder.any_note(is_measured);
}

/// Whether it is a batch's.
bool is_foreign(const WorkFolder& folder) {
  return !folder.find(kAsked) && folder.any_note([](const json&) { return true; });
}

/// Makes the folder that of this calibration, and returns the seed of what it holds.
uint64_t claim(WorkFolder& folder, const Request& request, json asked, bool fresh) {
  const json* const kept = folder.find(kAsked);
  const json seed = kept ? kept->value(kSeed, json()) : json();
  const bool is_own =
      kept && is_same(*kept, asked) && seed.is_number_unsigned() && (!request.seed_given || seed == json(request.seed));
  if (is_own && !fresh) return seed.get<uint64_t>();
  const std::string where = " in " + shown_path(folder.path().string());
  if (is_foreign(folder)) throw InvalidRequest("out", "has the work of a batch" + where + "; another --out leaves it");
  if (!fresh && holds_results(folder))
    throw InvalidRequest("out", "has unfinished work of a calibration with other settings" + where +
                                    "; --fresh discards it, another --out leaves it");
  folder.restart();
  asked[kSeed] = request.seed;
  folder.note(kAsked, asked);
  return request.seed;
}

json note_of(const RunChanges& changes) {
  json steps = json::array();
  for (const auto& step : changes) {
    json branches = json::array();
    for (const std::optional<ResidualChange>& change : step)
      branches.push_back(change ? json{change->ratio, change->deviation, change->cosine_distance} : json());
    steps.push_back(branches);
  }
  return {{kSteps, steps}};
}

/// Nothing of a note that is not whole: its run is measured again.
std::optional<RunChanges> read_changes(const json& note) try {
  RunChanges changes;
  for (const json& step : note.at(kSteps)) {
    auto& made = changes.emplace_back();
    for (size_t branch = 0; branch < kBranches; ++branch)
      if (const json& change = step.at(branch); !change.is_null())
        made[branch] =
            ResidualChange{change.at(0).get<double>(), change.at(1).get<double>(), change.at(2).get<double>()};
  }
  return changes;
} catch (const json::exception&) {
  return std::nullopt;
}

void recall(const WorkFolder& folder, ResidualMeter& meter) {
  folder.any_note([&](const json& note) {
    if (const auto changes = is_measured(note) ? read_changes(note) : std::nullopt)
      meter.add(note.at(kKey).get<std::string>().substr(std::string_view(kMeasured).size()), *changes);
    return false;
  });
}

/// After a failure: whether the folder stays, which then says how to go on.
bool leave(WorkFolder& folder) {
  if (holds_results(folder) || is_foreign(folder)) return true;
  folder.discard();
  return false;
}

Calibration measured(const Request& asked, const std::vector<std::string>& prompts, WorkFolder& folder,
                     const CalibrateOptions& options, const Log& log, Progress& progress) {
  Request request = measured_request(asked);
  const Schedule schedule = make_schedule(request);
  check_measurable(schedule);
  const ModelParts parts = find_parts(request);
  const std::vector<FileIdentity> files = identities(parts);
  const Placement placement = resolve_placement(request, options.contexts);
  request.seed = claim(folder, request, asked_of(request, prompts, placement, files), options.fresh);
  ResidualMeter meter(placement.dtype, [&](const std::string& run, const RunChanges& changes) {
    folder.note(kMeasured + run, note_of(changes));
  });
  recall(folder, meter);
  RunOptions run;
  run.contexts = options.contexts;
  run.save_every = options.save_every;
  run.fail_fast = true;
  run.meter = &meter;
  run.overwrite = true;  // of speech: what a kill left before it was noted
  const RunResult result = run_jobs(jobs_of(request, prompts, folder), folder, run, log, progress);
  for (const JobResult& job : result.jobs)
    if (job.failure) std::rethrow_exception(job.failure);
  if (result.cancelled) throw Cancelled();
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
  made.networks = calibrated_networks(parts, files);
  made.steps = meter.means(schedule);
  return made;
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

Calibration calibrate(const Request& request, const std::vector<std::string>& prompts, WorkFolder& folder,
                      const CalibrateOptions& options, const Log& log, Progress& progress) {
  try {
    return measured(request, prompts, folder, options, log, progress);
  } catch (const InvalidRequest&) {
    leave(folder);
    throw;
  } catch (const Cancelled&) {
    throw Cancelled(leave(folder) ? shown_path(folder.path().string()) +
                                        " keeps what was measured: the same command goes on, --fresh starts anew"
                                  : "nothing is kept: nothing was measured");
  } catch (...) {
    if (leave(folder)) log("kept", {{"work", shown_name(folder.path().string())}, {"finish_with", "the same command"}});
    throw;
  }
}

}  // namespace wan
