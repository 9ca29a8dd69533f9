// The matrix of a linear layer: as it was placed, or in 8 bits where the precision of its network says so.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/linear/int8.h"
#include "models/weights/scope.h"

namespace wan {

using at::Tensor;
using kernels::Activation;

/// What a linear multiplies: rows in a float dtype or, from a norm in front of matrices in 8 bits, their codes.
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

/// Of the role Block and a precision below exact the rows are rotated and quantised (kernels/linear/int8.h): once, where the
/// weight was placed on a GPU, one byte an element; at each use, where it is a mapping, since the codes of a whole
/// checkpoint would be a copy of it in memory. Widths that no slice of the rotation fits stay as they are.
struct Matrix {
  /// Takes `weight` [out, in] from `at`.
  Matrix(const Scope& at, int64_t out, int64_t in, Role role);
  /// The rows of all `parts`, which are of one kind and one input; a copy.
  explicit Matrix(const std::vector<Matrix>& parts);

  /// activation(x W^T + bias) in `compute`, to which rows are rounded first. x [..., in], codes only where the matrix
  /// is coded; bias [out] or undefined.
  Tensor product(const Operand& x, const Tensor& bias, Activation activation, at::ScalarType compute) const;
  /// residual [B, L, out] += gate * (x W^T + bias) in place; gate [S, out] float32 for each segment of tokens.
  void add_product(Tensor& residual, const Tensor& x, const Tensor& bias, const Tensor& gate,
                   const kernels::Segments& ends) const;
  /// On a device of its own and not in a mapping, in whatever form.
  bool is_placed() const;

  bool coded;
  Tensor weight;                // undefined where `rows` is in its place
  kernels::QuantisedRows rows;  // undefined where the weight is

 private:
  kernels::QuantisedRows codes() const;
};

/// Bytes that a matrix takes on a GPU for each row besides its codes.
inline constexpr uint64_t kRowScaleBytes = sizeof(float);
/// Whether a matrix of this role and input width is kept in 8 bits.
bool is_coded(Role role, int64_t in, Precision precision);

}  // namespace wan
