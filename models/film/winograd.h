// Convolutions of 3x3 pixels on the CPU by Winograd's F(2x2, 3x3): 16 products of matrices in place of the 36 of four
// pixels. Of float32 the rounding is that of another order of sums. Source: Lavin and Gray, Fast Algorithms for
// Convolutional Neural Networks, 2015.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace wan::film {

/// [out, in, 3, 3] -> [16, in, out], the form that the convolution reads; float32 or float64.
at::Tensor winograd_weight(const at::Tensor& weight);

/// What is done to each output value after the sum.
struct Finish {
  at::Tensor bias = {};  // [out], or undefined
  at::Tensor add = {};   // like the output, or undefined
  double slope = 1;      // of values below zero
};

/// x [1, in, H, W], channels last -> [1, out, H, W], or with `band` [1, out, H - 2, W]: then the first and last row of x
/// are no outputs' own. Beside rows, and without `band` above and below them, there are zeros. `weight` is of
/// winograd_weight. Throws c10::Error for other shapes and dtypes.
at::Tensor winograd(const at::Tensor& x, const at::Tensor& weight, const Finish& finish, bool band);

/// Values that the threads take for themselves meanwhile, for an output of height x width.
int64_t winograd_scratch(int64_t in, int64_t out, int64_t height, int64_t width);

}  // namespace wan::film
