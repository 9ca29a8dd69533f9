// As cuda.h, for the operations with 8-bit operands (int8.h).
#pragma once

#include <optional>

#include "kernels/int8.h"
#include "kernels/int8_attention.h"

namespace wan::kernels::cuda {

std::optional<QuantisedRows> quantise_rows(const Tensor& x);
std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation);
bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends);

/// Keys where `centre` is defined, queries otherwise.
std::optional<QuantisedHeads> quantise_heads(const Tensor& x, const Tensor& centre, double factor);
std::optional<Tensor> attention_int8(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v);

}  // namespace wan::kernels::cuda
