// What LoRAs add to the products of a linear, beside its weight, whatever that lies in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/op/context.h"

namespace wan::lora {

/// y = rows * (x W^T) + b + x D^T, where D is a difference of W [out, in]; each part of it changes some rows. The
/// factors are in the dtype of the product, on its device, and have their scales in them.
struct Branch {
  /// Rows `first_row` on: up * down's rows from `first_rank` on, or a whole difference.
  struct Part {
    int64_t first_row = 0, first_rank = 0;
    at::Tensor up;     // [rows, ranks], or undefined
    at::Tensor whole;  // [rows, in], where `up` is undefined
  };
  at::Tensor down;  // [ranks, in] of all parts, so that x is read once; undefined where none has ranks
  std::vector<Part> parts;
  at::Tensor rows;  // [out] float32 (float64 in float64), by which W's rows are multiplied (DoRA); undefined: 1

  uint64_t bytes() const;
  /// Multiplications of a forward for each row of x.
  double products() const;
};

/// y + x D^T, in place where it can be. x [..., in] and y [..., out], contiguous, both in the factors' dtype.
/// On the CPU it takes a product of some rows of x at a time beside y.
at::Tensor added(at::Tensor y, const at::Tensor& x, const Branch& branch,
                 const kernels::Context& context = kernels::default_context());

}  // namespace wan::lora
