#include "engine/residency/job_plan.h"

#include <algorithm>

#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/schedule.h"
#include "engine/residency/advice.h"
#include "engine/residency/builders.h"
#include "engine/residency/drawing_time.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/model_reuse.h"
#include "engine/residency/open_network.h"
#include "engine/residency/probed_machine.h"
#include "engine/residency/request_workload.h"

namespace wan {

namespace {

/// The same request with other weights; they change bits of the video, so that they are for the user to ask for.
std::vector<Alternative> alternatives(const Request& request, const ModelParts& parts, const Machine& machine,
                                      bool described_card, bool copied) {
  std::vector<Alternative> others;
  if (!machine.is_card || request.weights == "fp8" || request.weights == "int8") return others;
  Request fewer = request;
  fewer.weights = "fp8";
  const Placement placement = described_card ? placement_on_card(fewer) : resolve_placement(fewer);
  others.push_back({"--weights fp8", workload_of(fewer, parts, placement, copied)});
  return others;
}

std::vector<CachePlan> plans_of_cache(const ModelParts& parts, const Placement& placement, bool copied) {
  std::vector<CachePlan> plans;
  if (placement.cache_dir.empty()) return plans;
  for (const auto& [network, part] : parts.networks) {
    Place place = place_of(network, placement);
    place.mapped = place.mapped && !copied;
    place.as_mapped = place.as_mapped || (copied && place.device.is_cpu());
    if (const auto plan = plan_of_cache(network, part, open_network(network, parts), place, placement.cache_dir))
      plans.push_back(*plan);
  }
  return plans;
}

/// Whether any step leaves out blocks of attention.
bool skips(const Request& request) {
  return std::ranges::any_of(make_schedule(request), [](const Step& step) { return step.skip_softmax > 0; });
}

}  // namespace

JobPlan job_plan(const Request& request, const MachineWords& words, Contexts* contexts) {
  check_words(words);
  const bool described_card = !words.gpu.empty();
  const Placement placement = described_card ? placement_on_card(request) : resolve_placement(request, contexts);
  const bool measure = words.link.empty() && !described_card;
  const uint64_t allowed = read_size(request.device_memory).value_or(0);
  const Machine here = probed_machine(described_card ? Placement{} : placement, measure);
  JobPlan made{described(words, here), {}, {}, {}};
  if (described_card && allowed > 0) limit_budget(made.machine, allowed);
  const bool copied = made.machine.is_card && placement.device.is_cpu();
  const ModelParts parts = find_parts(request);
  made.workload = workload_of(request, parts, placement, copied);
  made.plan = plan(made.workload, made.machine);
  made.cache = plans_of_cache(parts, placement, copied);
  if (request.task == Task::S2V)
    made.machine.assumed.emplace_back(
        "the speech fits into one clip; each further one takes as long for sampling and decoding");
  if (skips(request))
    made.machine.assumed.emplace_back(
        "the seconds are those of dense attention: how much --skip-softmax leaves out is known only when it runs");
  if (const StepReuse reuse = step_reuse(request, parts); reuse.is_on())
    made.machine.assumed.emplace_back(
        std::to_string(reuse.reused()) + " of " + std::to_string(reuse.forwards()) +
        " forwards are reused (--acceleration regular); what is kept for them between steps, " +
        gigabytes(made.workload.demand(made.workload.extent).kept) + ", lies in the memory of a step");
  made.plan.advice = advice(made.workload, made.machine, made.plan,
                            alternatives(request, parts, made.machine, described_card, copied));
  if (const Interpolation how = interpolation_of(request); how.is_on()) {
    made.plan.phases.push_back(drawing_phase(how, parts.interpolator, placement, made.workload.extent, made.machine,
                                             *made.plan.phase("decode")));
    made.plan.seconds += made.plan.phases.back().seconds;
  }
  return made;
}

}  // namespace wan
