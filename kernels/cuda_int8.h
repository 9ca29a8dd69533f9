// As cuda.h, for the operations with 8-bit operands (int8.h).
#pragma once

#include <optional>

#include "kernels/int8.h"
#include "kernels/int8_attention.h"
#include "kernels/norm_int8.h"

namespace wan::kernels::cuda {

/// 10 * major + minor of a GPU's compute capability: 89 and newer take 8-bit floats, 90 alone has wgmma.
int architecture(at::Device device);
/// Whether mma.sync multiplies 8-bit floats at their own speed: sm_89, sm_120 and newer. On sm_90 and sm_100 the
/// compiler converts them to 16 bits first.
bool multiplies_float8(at::Device device);

std::optional<QuantisedRows> quantise_rows(const Tensor& x);

std::optional<QuantisedRows> modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                                       const Segments& ends, double eps);
std::optional<QuantisedRows> gated_residual_norm_int8_(const Tensor& x, const Tensor& y, const Tensor& gate,
                                                       const NextNorm& next, const Segments& ends);

/// Which kernel multiplies: mma.sync everywhere, or wgmma on sm_90, which has not run on a GPU yet and is therefore
/// only measured (wan-bench) and tested.
enum class Int8Product { Mma, Wgmma };
/// linear_int8 behind the quantisation of x: codes [M, K] -> [M, N] in `dtype`.
std::optional<Tensor> multiply_rows(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                    Activation activation, at::ScalarType dtype,
                                    Int8Product product = Int8Product::Mma);
std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation);
bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends);

/// Keys where `centre` is defined, queries otherwise.
std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor);
/// With the values that are asked for, which float8 on a GPU older than sm_89 cannot be: nullopt.
std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v, Values values);

}  // namespace wan::kernels::cuda
