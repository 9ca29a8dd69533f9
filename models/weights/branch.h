// What LoRAs add to the products of a linear, beside its weight, whatever that lies in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/op/context.h"
#include "models/weights/kronecker.h"

namespace wan::lora {

/// y = x M^T + b + x D^T, where D is a difference of W [out, in], each part of which changes some rows, and M is W
/// multiplied by what DoRA has for its rows and columns. The factors of D are in the dtype of the product, on its
/// device, and have their scales in them.
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
  /// By what the rows of each part of the weight are multiplied, which may be rows of several tensors: [its rows] in
  /// float32, or float64 in float64; undefined: 1. Empty: all are 1.
  std::vector<at::Tensor> rows = {};
  /// By what its columns are: [in], the same. A part with both is multiplied with rows + columns - 1.
  std::vector<at::Tensor> columns = {};

  /// Whether this part of the weight is multiplied by rows and by columns, which takes a second product with it.
  bool has_both(size_t part) const {
    return part < rows.size() && part < columns.size() && rows[part].defined() && columns[part].defined();
  }
  uint64_t bytes() const;
  /// Multiplications of a forward for each row of x, beside the first with W.
  double products() const;
};

/// y + x D^T, in place where it can be. x [..., in] and y [..., out], contiguous, both in the factors' dtype.
/// On the CPU it takes a product of some rows of x at a time beside y.
at::Tensor added(at::Tensor y, const at::Tensor& x, const Branch& branch,
                 const kernels::Context& context = kernels::default_context());

}  // namespace wan::lora
