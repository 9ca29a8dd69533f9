// Layers of RIFE. Source: IFNet_HDv3.py of Practical-RIFE. Pictures lie channels last, [1, H, W, C] contiguous. On the
// CPU convolutions of stride 1 go by kernels::winograd; others are computed in stripes of rows and, where these are few,
// groups of channels, one thread for each, so that results do not depend on the number of threads, what follows a
// convolution finds its result in the cache, and its input need not be there as a whole.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "kernels/convolution/winograd.h"
#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan::rife {

using at::Tensor;

/// Gives rows `first` to before `end` of a picture, [1, end - first, W, C] contiguous. Called from several threads.
using Rows = std::function<Tensor(int64_t first, int64_t end)>;
/// The rows of a picture that is there.
Rows rows_of(const Tensor& picture);

/// Of a picture [1, height, width, C] that is given row by row.
struct Picture {
  Rows rows;
  int64_t height, width;
  at::Device device;
};

/// How many rows of a result of this width are computed at once on the CPU.
int64_t rows_of_a_stripe(int64_t width);

/// A picture [1, H, W, C] as the library and kernels/convolution take it, [1, C, H, W], and back: the same memory.
Tensor as_image(const Tensor& picture);
Tensor as_picture(const Tensor& image);

/// 3x3 convolution with zero padding 1 and stride 1 or 2. Where it has a `beta` its result is multiplied by that.
struct Convolution {
  /// Takes `<name>.weight` and `<name>.bias` under `at`; `beta`: a tensor [1, out, 1, 1] under `at`, or empty.
  Convolution(const Scope& at, const std::string& name, int64_t in, int64_t out, int64_t stride, at::ScalarType dtype,
              const std::string& beta = "");
  /// -> [1, height / stride, width / stride, out]; with stride 2 both are even. `finish` is without bias, and its
  /// pictures are as_image. By kernels::winograd the picture is asked for as a whole.
  Tensor operator()(const Picture& x, const kernels::ConvolutionFinish& finish) const;

  int64_t in, out, stride;
  bool by_winograd;
  Weight weight;  // the taps [out, 3, 3, in], or what kernels::winograd reads, and behind them the bias [out], flat

 private:
  Tensor in_parts(const Picture& x, const Tensor& taps, const kernels::ConvolutionFinish& finish) const;
};

/// Transposed 4x4 convolution of stride 2 and padding 1: doubles a picture.
struct Deconvolution {
  /// Takes `<name>.weight` and `<name>.bias` under `at`, of which the first `used` output channels are computed.
  Deconvolution(const Scope& at, const std::string& name, int64_t in, int64_t out, int64_t used, at::ScalarType dtype);
  /// Where part of the result goes: the pixels of every second row and column of the result, beginning with
  /// `row_parity` and `column_parity`, for the input's rows from `row` on; values [1, rows, W, used], lying in whatever
  /// order.
  using Put = std::function<void(int64_t row_parity, int64_t column_parity, int64_t row, const Tensor& values)>;
  /// x [1, H, W, in]. Called from several threads, for other pixels each time.
  void operator()(const Tensor& x, const Put& put) const;

  int64_t in, used;
  Weight weight;  // for each parity of row and column the taps [used, 2, 2, in], and behind them the bias [used], flat
};

}  // namespace wan::rife
