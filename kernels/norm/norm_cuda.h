// The fused norms, bound to tensors. As all functions of namespace cuda: arguments as in the operation's header, whose
// checks have been made; each returns nothing (or false) where its kernel does not take the tensors (another device,
// dtype, width or layout), where the options ask for the reference, and in builds without kernels. Work goes to the
// current stream; nothing synchronises.
#pragma once

#include <optional>

#include "kernels/norm/norm.h"
#include "kernels/norm/norm_int8.h"

namespace wan::kernels {

/// Pixels of the VAE, from dtype to dtype.
bool takes_pixel(int64_t channels, at::ScalarType in, at::ScalarType out);
/// Norms that end in 8-bit rows, behind a residual of `dtype`.
bool takes_norm_int8(int64_t channels, at::ScalarType dtype);

namespace cuda {

std::optional<Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps,
                               const Context& context = default_context());
std::optional<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                 at::ScalarType dtype, const Context& context = default_context());
std::optional<Tensor> modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                           const Segments& ends, double eps, at::ScalarType dtype,
                                           const Context& context = default_context());
bool gated_residual_(const Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends,
                     const Context& context = default_context());
std::optional<Tensor> gated_residual_norm_(const Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                           const Segments& ends, at::ScalarType dtype,
                                           const Context& context = default_context());
std::optional<QuantisedRows> modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                                       const Segments& ends, double eps,
                                                       const Context& context = default_context());
std::optional<QuantisedRows> gated_residual_norm_int8_(const Tensor& x, const Tensor& y, const Tensor& gate,
                                                       const NextNorm& next, const Segments& ends,
                                                       const Context& context = default_context());
bool biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out, const Context& context = default_context());
inline bool channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out,
                              const Context& context = default_context()) {
  return cuda::biased_channel_norm_silu(x, Tensor(), gamma, activate, out, context);
}

}  // namespace cuda
}  // namespace wan::kernels
