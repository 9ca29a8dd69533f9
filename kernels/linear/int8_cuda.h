// The 8-bit products, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include <optional>

#include "kernels/linear/int8.h"

namespace wan::kernels {

/// 8-bit products from `depth` to `channels`, with activations of `dtype`.
bool takes_int8(int64_t depth, int64_t channels, at::ScalarType dtype);

namespace cuda {

std::optional<QuantisedRows> quantise_rows(const Tensor& x, const Context& context = default_context());

/// linear_int8 behind the quantisation of x: codes [M, K] -> [M, N] in `dtype`.
std::optional<Tensor> multiply_rows(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                    Activation activation, at::ScalarType dtype, Instructions instructions,
                                    const Context& context = default_context());
/// The same with wgmma, one warpgroup multiplying while another writes: whether that is faster only a card can say.
std::optional<Tensor> multiply_rows_in_turns(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                             Activation activation, at::ScalarType dtype,
                                             const Context& context = default_context());
std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation, const Context& context = default_context());
/// Whether linear_int8_residual_ does it.
bool takes_residual(const Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& gate,
                    const Segments& ends, const Context& context = default_context());
bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends, const Context& context = default_context());

}  // namespace cuda
}  // namespace wan::kernels
