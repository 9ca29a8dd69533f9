// Layers of FILM. Pictures and features lie channels last, [1, C, H, W]; convolutions of 3x3 pixels keep the size. All
// activations are leaky, by 0.2, and in place.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <vector>

#include "models/film/config.h"
#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan::film {

using at::Tensor;

/// Rows of a picture from `first` to before `end`.
struct Rows {
  int64_t first, end;

  int64_t count() const { return end - first; }
  /// With so many more above, as far as there are any.
  Rows from_above(int64_t more) const { return {std::max<int64_t>(0, first - more), end}; }
  /// These of x [1, C, H, W], a view.
  Tensor of(const Tensor& x) const { return x.narrow(2, first, count()); }
};

/// How the rows of a picture are cut, from above, so that what is computed of it at once is bounded.
struct Bands {
  /// Rows of `row_bytes` in bands of at most `band_bytes`, but of at least eight rows.
  Bands(int64_t height, int64_t row_bytes, int64_t band_bytes);
  Rows operator[](int64_t i) const { return {i * rows, std::min(height, (i + 1) * rows)}; }
  bool is_last(int64_t i) const { return i + 1 == count; }

  int64_t height, rows, count;  // the last band may have fewer rows
};

/// What is done around the sums of a convolution.
struct How {
  bool activated = true;
  /// The first row of the input, or the last, is only read: [1, C, H, W] -> [1, C, H - above - below, W]. Where it is
  /// not, there are zeros beyond it.
  bool above = false, below = false;
  const Tensor* add = nullptr;  // [1, out, H, W], as many rows as the input has; before the activation
};

/// The weight of convolutions of 1x1 or 3x3 pixels in the form in which it is used: where there are channels enough on the
/// CPU, that of kernels::winograd().
struct Kernel {
  Kernel(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype, int64_t parts = 1);
  /// x [1, in / parts, H, W] -> [1, out, H, W], of part `part` of the input. `bias` [out], or undefined.
  Tensor operator()(const Tensor& x, const Tensor& bias, const How& how, int64_t part = 0) const;

  int64_t out, size;
  bool by_winograd;
  Weight weight;  // of all parts
};

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

/// Convolutions of 3x3 pixels, one after another, of a picture that comes in bands of rows from above. Each band gives what
/// it completes: the last rows of a band wait for those below them, and no row is computed twice.
class Chain {
 public:
  /// `convolutions` must outlive it.
  explicit Chain(std::span<const Convolution> convolutions)
      : convolutions_(convolutions), stages_(convolutions.size()) {}
  /// x: the next rows [1, C, rows, W], the lowest where `last` -> further rows of the result. Either may be undefined: none.
  Tensor operator()(Tensor x, bool last);

 private:
  /// Of one convolution.
  struct Stage {
    Tensor kept;             // the last rows of its input, which those that come next need
    bool has_given = false;  // the first of them is one that an output has been computed of
  };
  std::span<const Convolution> convolutions_;
  std::vector<Stage> stages_;
};

/// Estimates the flow from one picture to another from their features. The first convolution is over both; what the
/// first picture adds to it is the same whatever the second is, and may be computed apart.
struct FlowPredictor {
  /// `band_bytes`: of the warped features of a band, which bounds the memory.
  FlowPredictor(const Scope& at, int64_t features, const Config::Predictor& sizes, at::ScalarType dtype,
                int64_t band_bytes);
  /// features [1, C, H, W] -> [1, width, H, W].
  Tensor own(const Tensor& features) const;

  /// Writes some rows of the second picture's features, warped to the first, from `first_row` on, into [1, C, rows, W].
  using Warp = std::function<void(const Tensor& out, int64_t first_row)>;
  /// The first picture's features [1, C, H, W] and what own() gave of them, which is computed again by bands where it is
  /// undefined -> [1, 2, H, W], in pixels. In bands of rows where the level is large.
  Tensor operator()(const Tensor& features, const Tensor& own, const Warp& warp) const;

  int64_t band_bytes;
  Kernel first;  // of two parts: the first picture's features and the second's
  Weight first_bias;
  std::vector<Convolution> convolutions;  // further ones of 3x3 pixels
  std::vector<Convolution> of_pixels;     // of 1x1, the last without activation
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

  /// Rows of the coarser level, which has `height`, that these of the doubled one are made of.
  static Rows coarser_rows(Rows rows, int64_t height) { return {rows.first / 2, std::min(height, rows.end / 2 + 1)}; }

  int64_t aligned, width, band_bytes;
  Weight taps, taps_bias;  // [4 * width, C] of a convolution of 2x2 pixels (double_into), and its bias on the first tap
  std::array<Convolution, 2> convolutions;

 private:
  /// coarser [1, C, H, W] -> [H, W, 4, width].
  Tensor taps_of(const Tensor& coarser) const;
};

}  // namespace wan::film
