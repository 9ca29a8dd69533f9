// Convolutions of 3x3 pixels on the CPU by Winograd's F(2x2, 3x3): 16 products of matrices in place of the 36 of four
// pixels. Of float32 the rounding is that of another order of sums. Bytes do not depend on the number of threads
// (kernels/op/pieces.h). Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace wan::kernels {

/// Whether winograd() takes a convolution of 3x3 pixels, stride 1 and padding 1, and is faster than the library.
bool takes_winograd(int64_t in, int64_t out, at::Device device, at::ScalarType dtype);

/// [out, in, 3, 3] -> [16, in, out], the form that winograd() reads; float32 or float64.
at::Tensor winograd_weight(const at::Tensor& weight);

/// What is done to each sum of a convolution, in this order.
struct ConvolutionFinish {
  at::Tensor bias = {};    // [out], or undefined
  at::Tensor add = {};     // like the output, or undefined
  double slope = 1;        // of values below zero
  at::Tensor slopes = {};  // the same for each channel [out], in place of `slope`
  at::Tensor then = {};    // like the output, or undefined: is added at last
};

/// x [1, in, H, W], channels last -> [1, out, H, W], or with `band` [1, out, H - 2, W]: then the first and last row of x
/// are no outputs' own. Beside rows, and without `band` above and below them, there are zeros. `weight` is of
/// winograd_weight. Throws c10::Error for other shapes and dtypes.
at::Tensor winograd(const at::Tensor& x, const at::Tensor& weight, const ConvolutionFinish& finish, bool band = false);

/// Values that so many threads take for themselves meanwhile, for an output of height x width.
int64_t winograd_scratch(int64_t in, int64_t out, int64_t height, int64_t width,
                         int64_t threads = at::get_num_threads());

}  // namespace wan::kernels
