// The batch tests' program; called with --render it is the process that they kill.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "engine/job/scheduler.h"
#include "engine/request/manifest.h"
#include "kernels/op/pieces.h"

namespace {

/// Renders a manifest as wan-infer batch does, but for a state after each step, so that a kill can hit all of them.
int render(const char* manifest, const char* work) {
  struct Silent : wan::Progress {
    void at(const wan::Report&) override {}
  } silent;
  c10::InferenceMode inference;
  const uint64_t draw = wan::WorkFolder::draw_number(work);
  std::vector<wan::JobRequest> jobs;
  for (const wan::ManifestJob& job : wan::read_manifest(manifest, {.draw = draw}))
    jobs.push_back({.line = job.line, .request = job.request});
  wan::WorkFolder folder(work, draw);
  const wan::RunResult result = wan::run_jobs(jobs, folder, {.save_every = {}}, wan::Log{}, silent);
  for (const wan::JobResult& job : result.jobs)
    if (!job.error.empty()) std::fprintf(stderr, "%s\n", job.error.c_str());
  return result.count(wan::JobState::Failed) > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  wan::kernels::fix_order_of_sums();  // as wan-engine, which ends what this program began
  if (argc == 4 && std::string_view(argv[1]) == "--render") return render(argv[2], argv[3]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
