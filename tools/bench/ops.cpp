#include "tools/bench/ops.h"

#include <ATen/ATen.h>

#include "kernels/op/device.h"

namespace wan::bench {

std::vector<Resolution> real_resolutions() {
  // Short ones last: what runs out of budget first should be the least missed. 81 frames are 21 latent frames.
  return {{"720p", 21, 45, 80}, {"480p", 21, 30, 52}, {"580p", 21, 36, 64}, {"short", 1, 64, 64}};
}

Tensor Site::randn(at::IntArrayRef shape) const {
  return at::randn(shape, options());
}

std::vector<std::pair<std::string, kernels::Instructions>> own_instructions(const Site& site) {
  using kernels::Instructions, kernels::Wgmma;
  if (!site.is_cuda() || !kernels::kFusedBuilt) return {};
  std::vector<std::pair<std::string, Instructions>> own = {{"mma", Instructions::Mma}};
  if (site.context->options().wgmma != Wgmma::Off && kernels::cuda::has_wgmma(site.device))
    own.push_back({"wgmma", Instructions::Wgmma});
  return own;
}

std::vector<Plan> ops_plans(const Site& site) {
  std::vector<Plan> all;
  for (auto plans : {attention_plans, linear_plans, elementwise_plans, convolution_plans, coded_plans,
                     lora_plans})
    for (Plan& plan : plans(site)) all.push_back(std::move(plan));
  return all;
}

}  // namespace wan::bench
