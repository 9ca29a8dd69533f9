// Linear combinations of latents: guidance and the updates of the solvers.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace wan::kernels {

using at::Tensor;

/// unconditional + guidance * (conditional - unconditional), equal shapes and float dtypes. Source: wan/text2video.py.
Tensor guide(const Tensor& unconditional, const Tensor& conditional, double guidance);

/// The sum of factor * tensor over the terms, in their order; at least one term, equal shapes, the first one's dtype.
/// Throws c10::Error on others.
Tensor weighted_sum(const std::vector<std::pair<double, Tensor>>& terms);

/// The same in ATen (see norm.h).
namespace reference {
Tensor guide(const Tensor& unconditional, const Tensor& conditional, double guidance);
Tensor weighted_sum(const std::vector<std::pair<double, Tensor>>& terms);
}  // namespace reference

}  // namespace wan::kernels
