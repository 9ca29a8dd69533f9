#include "engine/sampling/forward_options.h"

namespace wan {

std::vector<at::Tensor> forwarded(const Step& step, const at::Tensor& x, size_t count, const StepForward& forward,
                                  const ForwardOptions& options, const StepCache::Lost* lost) {
  if (lost) {
    options.cache->restore(*lost, forward);
    return {};
  }
  if (options.cache && options.cache->is_on()) return options.cache->velocities(step, x, count, forward);
  BranchList all;
  for (size_t branch = 0; branch < count; ++branch) all.push_back(branch);
  return forward.compute(all, options.meter ? options.meter->see(step, forward.embed) : nullptr);
}

}  // namespace wan
