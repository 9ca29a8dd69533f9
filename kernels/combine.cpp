#include "kernels/combine.h"

#include <ATen/ATen.h>

#include "kernels/check.h"
#include "kernels/cuda.h"
#include "kernels/policy.h"

namespace wan::kernels {

Tensor guide(const Tensor& unconditional, const Tensor& conditional, double guidance) {
  check_shape("guide", "conditional", conditional, unconditional.sizes());
  if constexpr (kFusedBuilt) {
    if (auto out = cuda::guide(unconditional, conditional, guidance)) return *out;
  }
  return reference::guide(unconditional, conditional, guidance);
}

Tensor weighted_sum(const std::vector<std::pair<double, Tensor>>& terms) {
  TORCH_CHECK(!terms.empty(), "[weighted_sum] wants at least one term, got none");
  for (const auto& [factor, x] : terms) check_shape("weighted_sum", "a term", x, terms[0].second.sizes());
  if constexpr (kFusedBuilt) {
    if (auto out = cuda::weighted_sum(terms)) return *out;
  }
  return reference::weighted_sum(terms);
}

namespace reference {

Tensor guide(const Tensor& unconditional, const Tensor& conditional, double guidance) {
  return unconditional + guidance * (conditional - unconditional);
}

Tensor weighted_sum(const std::vector<std::pair<double, Tensor>>& terms) {
  Tensor sum = terms[0].second * terms[0].first;
  for (size_t i = 1; i < terms.size(); ++i) sum.add_(terms[i].second, terms[i].first);
  return sum;
}

}  // namespace reference
}  // namespace wan::kernels
