// Convolutions over clips. A clip lies channels last: [T, H, W, C] contiguous, which is what oneDNN and cuDNN are fast
// at and what lets a norm read a pixel in one piece. Only this file knows how ATen wants that said. The first use of a
// shape in 16 bits on CUDA waits for the device and may throw c10::Error (kernels/convolution/convolution_check.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// 3-D convolution without padding in time, with zero padding of half the kernel in space (odd kernels).
///   x [T, H, W, Cin]; weight [Cout, Cin, kT, kH, kW] and bias [Cout], converted to x's dtype where they differ; an
///   undefined bias is 0
///   returns [(T - kT) / time_stride + 1, H, W, Cout]
Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t time_stride = 1,
              const Context& context = default_context());

/// Of single pixels, a linear layer over the channels. On the CPU it goes through the rows as conv3d does.
///   x [T, H, W, Cin]; weight [Cout, Cin] and bias [Cout]; returns [T, H, W, Cout]
Tensor conv_pixels(const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Context& context = default_context());

/// Halves every frame: 3x3 convolution of stride 2 over the frame with one zero column on the right and one zero row
/// below.
///   x [T, H, W, Cin]; weight [Cout, Cin, 3, 3]; returns [T, H / 2, W / 2, Cout]
Tensor conv2d_down(const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Context& context = default_context());

/// Doubles every frame: each pixel twice in both directions (nearest), then a 3x3 convolution with zero padding 1.
/// A 3x3 window over doubled pixels sees only 2x2 different ones, so the taps that fall on the same pixel are summed
/// first: four 2x2 convolutions of the small frame, one for each parity of row and column; 16 products instead of 36.
///   x [T, H, W, Cin]; folded from fold_nearest2x; returns [T, 2H, 2W, Cout]
Tensor conv2d_up(const Tensor& x, const Tensor& folded, const Tensor& bias, const Context& context = default_context());
/// weight [Cout, Cin, 3, 3] -> [4, Cout, Cin, 2, 2] in the same dtype, sums in float64; parity 2 * (row & 1) + (column
/// & 1).
Tensor fold_nearest2x(const Tensor& weight);

/// The same by unfolding and matrix products, in x's dtype: slow, and without the convolutions of oneDNN and cuDNN.
/// What cuDNN makes in 16 bits is compared with it (kernels/convolution/convolution_check.h).
namespace reference {
Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t time_stride = 1);
Tensor conv2d_down(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor conv2d_up(const Tensor& x, const Tensor& folded, const Tensor& bias);
}  // namespace reference

}  // namespace wan::kernels
