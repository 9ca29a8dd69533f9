// The fused forms of the operations, bound to tensors. Each returns nothing (or false) where its kernel does not take
// the tensors: another device, dtype, width or layout, or the policy is Reference. Arguments as in the header of the
// operation, whose checks have been made. Work goes to the current stream; nothing synchronises.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"
#include "kernels/op/policy.h"
#include "kernels/rope/rope.h"
#include "kernels/step/solver_step.h"

namespace wan::kernels::cuda {

/// Whether this build's kernels run on `device`, a CUDA device with an index; asked of the driver once for each.
bool has_kernels(at::Device device);

std::optional<Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps);
std::optional<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                 at::ScalarType dtype);
std::optional<Tensor> modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                           const Segments& ends, double eps, at::ScalarType dtype);
bool gated_residual_(const Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends);
std::optional<Tensor> gated_residual_norm_(const Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                           const Segments& ends, at::ScalarType dtype);
bool channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out);

std::optional<Tensor> apply_rope(const Tensor& x, const Rope& rope);
std::optional<std::pair<Tensor, Tensor>> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q,
                                                      const Tensor& weight_k, const Rope& rope, int64_t heads,
                                                      double eps);

/// The product with a GELU behind it; others are ATen's already.
std::optional<Tensor> linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias);

std::optional<StepSums> solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history,
                                    const StepFactors& factors);

/// 10 * major + minor of a GPU's compute capability: 89 and newer take 8-bit floats, 90 alone has wgmma. Without an
/// index the current GPU is meant.
int architecture(at::Device device);
bool has_wgmma(at::Device device);

/// Our tensor-core attention; `bias` is undefined or [Lk], with wgmma undefined. Layouts that the kernel does not read
/// are copied first.
std::optional<Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias,
                                Product product = Product::Mma);

}  // namespace wan::kernels::cuda
