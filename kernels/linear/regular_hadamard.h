// The regular Hadamard matrix (hadamard.h) as ATen operations: the definition that kernels are held against.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::kernels {

using at::Tensor;

/// Whether a regular Hadamard matrix of this order is one of ours: a power of 4.
bool is_regular_order(int64_t order);

/// Each group of `order` neighbours of the last axis times the regular Hadamard matrix of that order, H4 (x) H4 (x) ... /
/// sqrt(order), with -1 on the antidiagonal of H4: symmetric and its own inverse. float32, in radix-4 steps whose sums
/// round as those of hadamard.cuh.
///   order: a power of 4 that divides the axis. Throws c10::Error otherwise.
Tensor regular_hadamard(const Tensor& x, int64_t order);

}  // namespace wan::kernels
