// Widening on CUDA, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include "kernels/dequantise/coded_matrix.h"

namespace wan::kernels::cuda {

/// The values of the rows from `first` on to `out` [count, K], contiguous, on the codes' device, in float32, bfloat16 or
/// float16: the same as the reference's, bit for bit. False where nothing is done: off CUDA, for rotations of groups
/// beyond 256, and for sizes that 32 bits do not count (launch.h).
bool widen_rows(const CodedMatrix& matrix, int64_t first, const Tensor& out,
                const Context& context = default_context());

/// x = gelu_tanh(x + bias) in place: x [.., N] contiguous, bias [N] in x's dtype or undefined. False where nothing is done.
bool add_bias_gelu_(const Tensor& x, const Tensor& bias, const Context& context = default_context());

}  // namespace wan::kernels::cuda
