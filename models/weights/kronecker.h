// LoKr beside a linear: the product with W1 (x) W2, without that matrix, which is as large as the weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/op/context.h"

namespace wan::lora {

/// The order in which rows pass through two factors, and what it costs. `first`, `second`: the widths that a row has in
/// turn: of W1 [a, b] b and a, of one that is the product of two of rank r b, r and a; of W2 alike.
struct KroneckerOrder {
  KroneckerOrder(const std::vector<int64_t>& first, const std::vector<int64_t>& second);

  size_t before = 0;    // so many matrices of W2 come before those of W1, the rest behind them
  double products = 0;  // multiplications for each row
  int64_t widest = 0;   // values that a row has at most on the way
};

/// rows * (W1 (x) W2) * columns. All tensors lie on one device; the factors are in the dtype of the product.
struct Kronecker {
  /// W1 [a, b] and W2 [c, d], each one matrix or two whose product it is.
  std::vector<at::Tensor> first, second;
  /// [a c] and [b d] (DoRA), float32 or, in float64, that; undefined: 1.
  at::Tensor rows = {}, columns = {};

  int64_t out() const { return first.front().size(0) * second.front().size(0); }
  int64_t in() const { return first.back().size(1) * second.back().size(1); }
  KroneckerOrder order() const;
  uint64_t bytes() const;
};

/// y [M, out], whose rows may lie apart, += x [M, in] times the matrix transposed, some rows at a time.
void add_product(const at::Tensor& y, const at::Tensor& x, const Kronecker& matrix, const kernels::Context& context);

/// What add_product takes beside x and y.
uint64_t kronecker_work_bytes(at::ScalarType compute);

}  // namespace wan::lora
