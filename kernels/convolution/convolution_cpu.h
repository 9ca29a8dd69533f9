// Convolutions of clips on the CPU whose bytes do not depend on the number of threads (kernels/op/pieces.h), nor on how
// many of a frame's rows are there.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::kernels {

/// A part of a frame, of whole rows from a multiple of these on to another or the frame's end, has the bits of the whole
/// frame where its windows see nothing outside of the part. Rows are those of the result.
inline constexpr int64_t kRowsOfAConvolution = 8;

/// Where the windows of a convolution lie: zeros around each frame, and steps from one to the next. None in time.
struct Windows {
  int64_t top, bottom, left, right;
  int64_t stride = 1, time_stride = 1;
};

/// x [T, H, W, Cin] contiguous, taps [Cout, Cin, kT, kH, kW] and bias [Cout] of x's dtype; returns
/// [(T - kT) / time_stride + 1, (H + top + bottom - kH) / stride + 1, ..., Cout] contiguous. Windows of one pixel are
/// matrix products; others go to the library in stripes of a frame, each on one thread.
at::Tensor convolve_on_cpu(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, const Windows& windows);

}  // namespace wan::kernels
