#include "engine/residency/fit.h"

#include "engine/base/error.h"
#include "engine/residency/largest_fit.h"
#include "engine/residency/plan.h"
#include "engine/residency/probed_machine.h"
#include "engine/residency/request_workload.h"
#include "engine/residency/tile_needs.h"
#include "engine/residency/vae_way.h"

namespace wan {

namespace {

/// `check` throws InvalidRequest where the workload has no room.
template <typename Check>
Fit fit_of(Workload workload, const ModelParts& parts, const Placement& placement,
           const std::optional<VaeTiles>& before, Check check) {
  const Machine machine = probed_machine(placement, /*measure=*/false);
  const VaeTiles tiles = kept_tiles(before, card_tiles(parts, placement, machine, workload.extent));
  if (before && before->of(placement.vae) != VaeTiles::kUnknown) workload.in_tiles = tiles.of(placement.vae) > 0;
  Fit fit{activations_of(workload, demand_on(workload, machine, workload.extent)), tiles, {}};
  try {
    check(workload, machine);
  } catch (const InvalidRequest&) {
    fit.refusal = std::current_exception();
  }
  return fit;
}

}  // namespace

Fit fit_of(const Request& request, const ModelParts& parts, const Placement& placement,
           const std::optional<VaeTiles>& before) {
  return fit_of(workload_of(request, parts, placement, copies_on_cpu(placement)), parts, placement, before, plan);
}

Fit decode_fit(const ModelParts& parts, const Extent& extent, const Placement& placement,
               const std::optional<VaeTiles>& before) {
  return fit_of(decode_workload(parts, extent, placement), parts, placement, before, check_room);
}

}  // namespace wan
