#include "tools/bench/gpu.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "tools/bench/ceilings.h"
#include "tools/bench/child.h"
#include "tools/bench/device.h"
#include "tools/bench/networks.h"
#include "tools/bench/step_cache.h"

namespace wan::bench {
namespace {

std::vector<Plan> plans_of(const std::string& suite, const Site& site) {
  if (suite == "ops") return ops_plans(site);
  if (suite == "block") {
    std::vector<Plan> plans = block_plans(site);
    for (Plan& plan : step_cache_plans(site)) plans.push_back(std::move(plan));
    return plans;
  }
  if (suite == "step") return step_plans(site);
  if (suite == "vae") return vae_plans(site);
  if (suite == "t5") return t5_plans(site);
  return {};
}

}  // namespace

std::vector<std::string> gpu_suites() {
  return {"ceilings", "ops", "block", "step", "vae", "t5"};
}

void measure_gpu(const GpuOptions& options, const std::function<void(const Report&)>& save) {
  const Budget budget(options.budget_seconds);
  Site site;
  site.context = kernels::make_context(options.kernels, at::Device(site.device.type(), 0));
  Report report{.command = options.command,
                .commit = options.commit,
                .environment = device_environment(),
                .ceilings = {},
                .rows = {},
                .left_out = {}};
  report.environment["clocks_before"] = device_clocks();
  const Stopwatch stopwatch = device_stopwatch({});
  std::vector<Probe> probes = ceiling_probes(site);
  for (Probe& probe : device_probes()) probes.push_back(std::move(probe));
  measure_ceilings(probes, stopwatch, report);
  for (const std::string& suite : options.suites) {
    for (const Plan& plan : plans_of(suite, site)) {
      if ((plan.name + ", " + plan.shape).find(options.only) == std::string::npos) continue;
      run_plans({plan}, stopwatch, budget, report);
      save(report);
    }
    report.environment["clocks_after"] = device_clocks();
    save(report);
  }
}

std::string current_commit() {
  try {
    ChildResult result = run_child({"git", "describe", "--always", "--dirty", "--abbrev=12"}, /*quiet=*/true);
    while (!result.out.empty() && result.out.back() == '\n') result.out.pop_back();
    return result.status == 0 && !result.out.empty() ? result.out : "unknown";
  } catch (const std::runtime_error&) {
    return "unknown";
  }
}

}  // namespace wan::bench
