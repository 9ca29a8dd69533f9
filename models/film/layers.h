// Layers of FILM. Pictures and features lie channels last, [1, C, H, W]; convolutions of 3x3 pixels keep the size. All
// activations are leaky, by 0.2, and in place.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "models/film/config.h"
#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan::film {

using at::Tensor;

/// What is done around the sums of a convolution.
struct How {
  bool activated = true;
  bool band = false;            // rows above and below are part of the input: [1, C, H, W] -> [1, C, H - 2, W]
  const Tensor* add = nullptr;  // like the output, before the activation
};

/// The weight of convolutions of 1x1 or 3x3 pixels in the form in which it is used: where there are channels enough on the
/// CPU, that of winograd().
struct Kernel {
  Kernel(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype, int64_t parts = 1);
  /// x [1, in / parts, H, W] -> [1, out, H, W], of part `part` of the input. `bias` [out], or undefined.
  Tensor operator()(const Tensor& x, const Tensor& bias, const How& how, int64_t part = 0) const;

  int64_t out, size;
  bool by_winograd;
  Weight weight;  // of all parts
};

/// Whether a convolution of 3x3 pixels with so many channels goes by winograd().
bool goes_by_winograd(int64_t in, int64_t out, at::Device device, at::ScalarType dtype);

/// A convolution of 1x1 or 3x3 pixels.
struct Convolution {
  Convolution(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype);
  /// x [1, in, H, W] -> [1, out, H, W].
  Tensor operator()(const Tensor& x, const How& how = {}) const { return kernel(x, bias.tensor(), how); }

  Kernel kernel;
  Weight bias;
};

/// Two convolutions of 3x3 pixels, each with its activation: a sub-level of the features.
struct SubLevel {
  SubLevel(const Scope& at, int64_t in, int64_t out, at::ScalarType dtype);
  Tensor operator()(const Tensor& x) const { return second(first(x)); }
  Convolution first, second;
};

/// Estimates the flow from one picture to another from their features. The first convolution is over both; what the
/// first picture adds to it is the same whatever the second is, and is computed apart.
struct FlowPredictor {
  FlowPredictor(const Scope& at, int64_t features, const Config::Predictor& sizes, at::ScalarType dtype);
  /// features [1, C, H, W] -> [1, width, H, W].
  Tensor own(const Tensor& features) const;
  /// What own() gave of the first picture, and the features of the second, warped to it -> [1, 2, H, W], in pixels.
  /// `other` is released on the way.
  Tensor operator()(const Tensor& own, Tensor other) const;

  Kernel first;  // of two parts: the first picture's features and the second's
  Weight first_bias;
  std::vector<Convolution> rest;
};

/// A level of the fusion: the coarser level at twice the size, beside what is aligned at this one, through two
/// convolutions.
struct FusionLevel {
  /// `band_bytes`: of the input of a band, which bounds the memory of a level.
  FusionLevel(const Scope& at, int64_t coarser, int64_t aligned, int64_t width, at::ScalarType dtype,
              int64_t band_bytes);

  /// Writes some rows of the aligned channels, from `first_row` on, into [1, aligned, rows, W].
  using Aligned = std::function<void(const Tensor& out, int64_t first_row)>;
  /// coarser [1, C, H, W] -> [1, width, 2H, 2W], or what `last` makes of it. Computed in bands of rows where the level is
  /// large. `coarser` is released on the way.
  Tensor operator()(Tensor coarser, const Aligned& align, const Convolution* last = nullptr) const;

  /// Rows of a band of a level with an input of this size, and how many bands there are.
  struct Bands {
    int64_t rows, count;
  };
  static Bands bands(int64_t channels, int64_t height, int64_t width, int64_t element_size, int64_t band_bytes);

  int64_t aligned, width, band_bytes;
  Weight taps, taps_bias;  // [4 * width, C] of a convolution of 2x2 pixels (double_into), and its bias on the first tap
  Convolution first, second;

 private:
  /// coarser [1, C, H, W] -> [H, W, 4, width].
  Tensor taps_of(const Tensor& coarser) const;
  Tensor band(const Tensor& products, const Aligned& align, int64_t first_row, int64_t rows) const;
};

}  // namespace wan::film
