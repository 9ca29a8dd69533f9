// As cuda.h, for the operations with 8-bit operands (int8.h).
#pragma once

#include <optional>

#include "kernels/attention/int8_attention.h"
#include "kernels/linear/int8.h"
#include "kernels/norm/norm_int8.h"
#include "kernels/op/cuda.h"

namespace wan::kernels::cuda {

/// The instructions that linear_int8 and attention_int8 multiply with: wgmma on sm_90 where it is on (policy.h). Any
/// device.
Product product_on(at::Device device);
/// Whether the device multiplies 8-bit floats at their own speed: with mma.sync on sm_89, sm_120 and newer (on sm_90
/// and sm_100 the compiler converts them to 16 bits first), and with wgmma where product_on says so.
bool multiplies_float8(at::Device device);

std::optional<QuantisedRows> quantise_rows(const Tensor& x);

std::optional<QuantisedRows> modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                                       const Segments& ends, double eps);
std::optional<QuantisedRows> gated_residual_norm_int8_(const Tensor& x, const Tensor& y, const Tensor& gate,
                                                       const NextNorm& next, const Segments& ends);

/// linear_int8 behind the quantisation of x: codes [M, K] -> [M, N] in `dtype`.
std::optional<Tensor> multiply_rows(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                    Activation activation, at::ScalarType dtype, Product product);
std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation);
/// Whether linear_int8_residual_ does it.
bool takes_residual(const Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& gate,
                    const Segments& ends);
bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends);

/// Keys where `centre` is defined, queries otherwise.
std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor);
/// How 8-bit attention multiplies. Half sums and wgmma have not run on a GPU yet: they are only measured (wan-bench)
/// and tested, wgmma also where it is on (policy.h).
struct Int8Way {
  Values values;
  Sums sums = Sums::Float;
  Product product = Product::Mma;
};
/// v as launch_quantise_values leaves it, in the range of these sums. nullopt on a GPU older than sm_89.
struct CodedValues {
  Tensor codes, scale;
};
std::optional<CodedValues> code_values(const Tensor& v, Sums sums);
/// attention_int8 behind the quantisation: `coded` is looked at where the values are float8, `v` otherwise. nullopt,
/// too, where the GPU does not have the instructions.
std::optional<Tensor> attend_codes(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                   const std::optional<CodedValues>& coded, const Int8Way& way);
/// The same with values coded on the way.
std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                                     const Int8Way& way);

}  // namespace wan::kernels::cuda
