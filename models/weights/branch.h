// What LoRAs add to the products of a linear, beside its weight, whatever that lies in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/op/context.h"
#include "models/weights/kronecker.h"

namespace wan::lora {

/// y = (x * columns) W^T * rows + b + x D^T, where D is a difference of W [out, in]; each part of it changes some rows.
/// The factors are in the dtype of the product, on its device, and have their scales in them.
struct Branch {
  /// Rows `first_row` on, in one of three forms.
  struct Part {
    int64_t first_row = 0, first_rank = 0;
    at::Tensor up = {};     // [rows, ranks], times down's rows from `first_rank` on
    at::Tensor whole = {};  // [rows, in], a whole difference
    std::optional<Kronecker> kronecker = {};

    int64_t rows() const { return kronecker ? kronecker->out() : (up.defined() ? up : whole).size(0); }
  };
  at::Tensor down = {};  // [ranks, in] of all parts, so that x is read once; undefined where none has ranks
  std::vector<Part> parts = {};
  /// By what W's rows are multiplied (DoRA): [out] float32, or float64 in float64; undefined: 1.
  at::Tensor rows = {};
  /// By what the columns of each part of the weight are, which may be rows of several tensors: [in] in that dtype,
  /// undefined: 1. Empty: all are 1. Where there are `rows`, too, W is multiplied with rows + columns - 1.
  std::vector<at::Tensor> columns = {};

  uint64_t bytes() const;
  /// Multiplications of a forward for each row of x, beside those with W.
  double products() const;
};

/// y + x D^T, in place where it can be. x [..., in] and y [..., out], contiguous, both in the factors' dtype.
/// On the CPU it takes a product of some rows of x at a time beside y.
at::Tensor added(at::Tensor y, const at::Tensor& x, const Branch& branch,
                 const kernels::Context& context = kernels::default_context());

}  // namespace wan::lora
