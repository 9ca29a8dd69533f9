#include "engine/sampling/forward_options.h"

namespace wan {

std::vector<StepCache::Lost> take_lost(const ForwardOptions& options) {
  if (options.meter) {
    std::vector<StepCache::Lost> list;
    if (auto lost = options.meter->take_lost()) list.push_back({lost->step, lost->x, {}, {}});
    return list;
  }
  return options.cache ? options.cache->take_lost() : std::vector<StepCache::Lost>();
}

std::vector<at::Tensor> forwarded(const Step& step, const at::Tensor& x, size_t count, const StepForward& forward,
                                  const ForwardOptions& options, const StepCache::Lost* lost) {
  if (lost && !options.meter) {
    options.cache->restore(*lost, forward);
    return {};
  }
  if (!lost && options.cache && options.cache->is_on()) return options.cache->velocities(step, x, count, forward);
  BranchList all;
  for (size_t branch = 0; branch < count; ++branch) all.push_back(branch);
  std::vector<at::Tensor> found =
      forward.compute(all, options.meter ? options.meter->see(step, x, forward.embed) : nullptr);
  return lost ? std::vector<at::Tensor>() : found;
}

}  // namespace wan
