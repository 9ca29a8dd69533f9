#include "tools/cli/job_commands.h"

#include <filesystem>
#include <iostream>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/batch_folder.h"
#include "engine/job/check.h"
#include "engine/job/single.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/job_plan.h"
#include "engine/residency/model_reuse.h"
#include "models/files/scratch_folder.h"
#include "tools/cli/batch_jobs.h"
#include "tools/cli/batch_output.h"
#include "tools/cli/check_output.h"
#include "tools/cli/dry_run.h"
#include "tools/cli/environment.h"
#include "tools/cli/plan_output.h"

namespace wan {
namespace {

std::vector<JobRequest> requests_of(BatchJobs batch) {
  std::vector<JobRequest> jobs;
  for (ManifestJob& job : batch.jobs)
    jobs.push_back({.line = job.line, .request = std::move(job.request), .name = std::move(job.name)});
  return jobs;
}

/// What the request's model has to do with acceleration. Throws InvalidRequest where its calibration is another model's.
ReuseModel reuse_model_of(const Request& request) {
  if (request.acceleration != "regular") return {};
  const ModelParts parts = find_parts(request);
  if (!request.calibration.empty()) check_calibration(request, parts, identities(parts));
  return reuse_model(request, parts);
}

}  // namespace

// The manifest is read before anything is made on disk: a wrong one leaves no work folder.
int run_batch(const Command& command, Contexts& contexts, Console& console) {
  const uint64_t draw = batch_draw(command.work);
  BatchJobs batch = batch_jobs(command, draw);
  BatchFolder place(command.work, draw, command.shard);
  if (place.draw() != draw) batch = batch_jobs(command, place.draw());  // another shard began at the same moment
  const bool is_shard = !command.shard.is_whole();
  const std::string shard = is_shard ? command.shard.text() : "";
  if (is_shard)
    console.log()("shard",
                  {{"shard", shard}, {"jobs", batch.jobs.size()}, {"of", batch.all}, {"share", batch.share()}});
  const RunOptions options{.given_order = command.order == "given",
                           .fail_fast = command.fail_fast,
                           .overwrite = command.overwrite,
                           .contexts = &contexts,
                           .expander_key = expander_key()};
  const RunResult result = run_jobs(requests_of(std::move(batch)), place.folder(), options, console.log(), console);
  std::cout << (is_shard ? "shard " + shard + "\n" : "") << to_text(result) << std::flush;
  write_report(place.folder().path() / "report.json", result, shard);
  if (!result.cancelled && result.count(JobState::Left) > 0)
    console.say("the same command goes on where this one ended");
  if (result.cancelled) throw Cancelled(shown_path(command.work) + " keeps what was done: the same command goes on");
  return result.count(JobState::Failed) > 0 ? 1 : 0;
}

int run_check(const Command& command, Contexts& contexts, Console& console) {
  std::vector<JobRequest> jobs;
  std::filesystem::path work = command.work + "/work";
  if (command.is_render()) {
    jobs.push_back({.line = 0, .request = command.request});
    work = WorkFolder::beside(command.request.out);
  } else {
    jobs = requests_of(batch_jobs(command, batch_draw(command.work)));
  }
  const ScratchFolder scratch;
  const std::vector<CheckResult> results = check_jobs(jobs,
                                                      {.overwrite = command.overwrite,
                                                       .given_order = command.order == "given",
                                                       .contact_sheet = command.contact_sheet,
                                                       .captured_heads = command.captured_heads,
                                                       .preview = command.preview,
                                                       .work = work,
                                                       .scratch = scratch.path,
                                                       .contexts = &contexts},
                                                      console);
  std::cout << (command.json ? to_json(results).dump(2) + "\n" : to_text(results, command.name));
  return exit_code_of(results);
}

void run_plan(const Command& command, Contexts& contexts) {
  const JobPlan made = job_plan(command.request, command.machine, &contexts);
  std::cout << (command.json ? to_json(made).dump(2) + "\n" : to_text(made));
}

void run_dry(const Command& command, Contexts& contexts) {
  const ReuseModel model = reuse_model_of(command.request);
  if (command.log_format == "json") {
    nlohmann::ordered_json all = nlohmann::ordered_json::parse(dry_run_json(command.request, model));
    all["plan"] = to_json(job_plan(command.request, command.machine, &contexts));
    std::cout << all.dump() << "\n";
    return;
  }
  std::cout << dry_run_text(command.request, model) << "\n" << std::flush;
  std::cout << to_text(job_plan(command.request, command.machine, &contexts));
}

}  // namespace wan
