// Products with the weight of a linear layer, chosen by its storage.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/linear/int8.h"
#include "models/weights/weight.h"

namespace wan {

using kernels::Activation;

/// What a linear multiplies: rows in a float dtype or, from a norm in front of weights in 8 bits, their codes.
struct Operand {
  Operand() = default;
  Operand(Tensor rows) : rows(std::move(rows)) {}
  Operand(kernels::QuantisedRows codes) : codes(std::move(codes)) {}

  /// Rows in `dtype`; codes stay as they are.
  Operand to(at::ScalarType dtype) const { return is_coded() ? *this : Operand(rows.to(dtype)); }
  bool is_coded() const { return codes.codes.defined(); }

  Tensor rows;
  kernels::QuantisedRows codes;
};

/// activation(x W^T + bias) in `compute`, to which rows are rounded first. A weight's branch (models/weights/branch.h)
/// is added to the rounded product, before the activation; then x comes in rows.
///   x [..., in], in codes only where the weight takes them; weight [out, in]; bias [out] or empty. A weight in codes of
///   its own is widened to `compute`, float32, bfloat16 or float16, in tiles of kernels::kWidenedTileBytes.
/// Throws c10::Error for codes that the weight does not take, and for one in codes of its own in float64.
Tensor product(const Operand& x, const Weight& weight, const Weight& bias, Activation activation,
               at::ScalarType compute);

/// residual [B, L, out] += gate * (x W^T + bias) in place.
///   x [B, L, in]; weight and bias as above; gate [S, out] float32 for each segment of tokens.
void add_product(Tensor& residual, const Tensor& x, const Weight& weight, const Weight& bias, const Tensor& gate,
                 const kernels::Segments& ends);

/// Whether add_product multiplies first and adds in a pass of its own: not so where the kernel of an 8-bit product adds.
bool adds_apart(const Weight& weight);

/// Rows `ids` of a table [rows, width] -> [ids, width], in the table's dtype or, of one in codes, in float32: nothing else of
/// it is read. The ids must be rows of it.
Tensor look_up(const Weight& table, at::IntArrayRef ids);

}  // namespace wan
