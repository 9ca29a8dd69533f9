// A library's convolution is compared with the reference where it is first used. cuDNN has had versions whose 16-bit
// 3-D convolutions were wrong at large sizes, and a video does not say so: it only looks worse.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <optional>
#include <string>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// How the outputs of one axis lie over its inputs: output o sees the inputs from o * stride / doubling - before to
/// o * stride / doubling + after, of which those outside are zeros.
struct ConvolutionAxis {
  int64_t stride = 1, doubling = 1;
  int64_t before = 0, after = 0;
};

/// The part of an axis that some outputs need, and where they lie in the convolution of that part alone.
struct AxisPart {
  int64_t first, count;  // inputs
  int64_t skipped;       // outputs before the wanted ones
};
/// For outputs [first, first + count) of an axis of `inputs`.
AxisPart needed_part(const ConvolutionAxis& axis, int64_t inputs, int64_t first, int64_t count);

/// A convolution of a clip [T, H, W, Cin] to [T', H', W', Cout].
struct Convolution {
  const char* op;
  std::string shape;  // weight and stride; dtype and sizes are the tensors'
  std::array<ConvolutionAxis, 3> axes;
  /// The same of a clip in float32: by other means, on a part of the clip.
  std::function<Tensor(const Tensor& part)> reference;
};

/// kernels/convolution/conv3d.h's operations, with weight and bias in the dtype in which the library gets them.
Convolution described_conv3d(const Tensor& taps, const Tensor& bias, int64_t time_stride);
Convolution described_down(const Tensor& taps, const Tensor& bias);
Convolution described_up(const Tensor& taps, const Tensor& bias);

/// The largest relative L2 error of `y`, which a library made of `x`, among tiles from the first pixels of the first
/// frame to the last of the last: an error may begin where an offset no longer fits. Nothing where x holds NaN or Inf
/// or a result lies beyond half of the dtype's range: that clip is done again in float32 (engine/frames/vae_clip.h).
std::optional<double> tile_error(const Convolution& convolution, const Tensor& x, const Tensor& y);

/// Relative L2 error with which a tile passes. One rounding of the result is 1.7e-3 in bfloat16 and 2e-4 in half, and
/// sums of transformed 16-bit inputs (Winograd) may lose some bits more; of a tile's 128 pixels one that is wrong by
/// its own size makes 0.09.
inline constexpr double kConvolutionBound = 2e-2;

/// Throws c10::Error where a tile is wrong, on the first use of this convolution, dtype and size on this device.
void check_convolution_once(const Convolution& convolution, const Tensor& x, const Tensor& y,
                            const Context& context = default_context());

}  // namespace wan::kernels
