// Motion row by row, on the CPU: pixels of a frame lie in one piece, four values to a vector, so that a warp reads four
// pixels for each of its own and no picture of the whole size is made.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/op/pieces.h"
#include "models/rife/motion.h"

namespace wan::rife::rows {
namespace {

constexpr int64_t kVector = 4;
constexpr int64_t kFlow = 4;  // channels

template <typename T>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kVector * sizeof(T))));
};
template <typename T>
using Vector = typename VectorOf<T>::Type;

/// Two neighbours of an increment's row or column, and how much of the second one.
template <typename T>
struct Between {
  int64_t low, high;
  T share;
};

/// Where position `at` of the frames lies in `size` pixels of `factor` times the size, as bilinear resizing has it.
template <typename T>
Between<T> between(double at, int64_t factor, int64_t size) {
  const double position = std::max((at + 0.5) / double(factor) - 0.5, 0.0);
  const int64_t low = std::min(int64_t(position), size - 1);
  return {low, std::min(low + 1, size - 1), T(position - double(low))};
}

/// Columns of the frames at which values are wanted: for each increment where they lie in it.
template <typename T>
using Columns = std::vector<std::vector<Between<T>>>;

template <typename T>
Columns<T> columns_at(const Motion& motion, const std::vector<double>& positions) {
  Columns<T> columns;
  for (const Increment& increment : motion.stages) {
    std::vector<Between<T>>& each = columns.emplace_back();
    for (const double position : positions)
      each.push_back(between<T>(position, increment.factor, increment.values.size(1)));
  }
  return columns;
}

/// (1 - share) a + share b, times `times`, of `kCount` values; added to `sum` with kAdd.
template <typename T, int64_t kCount, bool kAdd>
inline void mix(const T* a, const T* b, T share, T times, T* sum) {
  if constexpr (kCount % kVector == 0) {
    for (int64_t v = 0; v < kCount; v += kVector) {
      Vector<T> low, high, total;
      std::memcpy(&low, a + v, sizeof low);
      std::memcpy(&high, b + v, sizeof high);
      const Vector<T> mixed = (low * (1 - share) + high * share) * times;
      if constexpr (kAdd) {
        std::memcpy(&total, sum + v, sizeof total);
        total += mixed;
      } else {
        total = mixed;
      }
      std::memcpy(sum + v, &total, sizeof total);
    }
  } else {
    for (int64_t c = 0; c < kCount; ++c) {
      const T mixed = ((1 - share) * a[c] + share * b[c]) * times;
      sum[c] = kAdd ? sum[c] + mixed : mixed;
    }
  }
}

/// Adds to `out` [columns, stride] `times` the channels `channel` to before `channel + kCount` of an increment in row
/// `row` of the frames.
template <typename T, int64_t kCount>
void add_row(const Increment& increment, double row, const std::vector<Between<T>>& columns, int64_t channel, T times,
             T* out, int64_t stride, std::vector<T>& scratch) {
  const int64_t width = increment.values.size(1), channels = increment.values.size(2);
  const Between<T> at = between<T>(row, increment.factor, increment.values.size(0));
  const T* const data = increment.values.const_data_ptr<T>() + channel;
  const T *const above = data + at.low * width * channels, *const below = data + at.high * width * channels;
  scratch.resize(size_t(width * kCount));
  for (int64_t x = 0; x < width; ++x)
    mix<T, kCount, false>(above + x * channels, below + x * channels, at.share, times, &scratch[size_t(x * kCount)]);
  for (size_t i = 0; i < columns.size(); ++i)
    mix<T, kCount, true>(&scratch[size_t(columns[i].low * kCount)], &scratch[size_t(columns[i].high * kCount)],
                         columns[i].share, T(1), out + int64_t(i) * stride);
}

/// The flow in a row, in pixels: `out` [columns, 4].
template <typename T>
void flow_row(const Motion& motion, double row, const Columns<T>& columns, std::vector<T>& out,
              std::vector<T>& scratch) {
  std::fill(out.begin(), out.end(), T(0));
  for (size_t k = 0; k < motion.stages.size(); ++k)
    add_row<T, kFlow>(motion.stages[k], row, columns[k], 0, T(motion.stages[k].factor), out.data(), kFlow, scratch);
}

/// The mask in a row: out[i * stride].
template <typename T>
void mask_row(const Motion& motion, double row, const Columns<T>& columns, T* out, int64_t stride,
              std::vector<T>& scratch) {
  for (size_t i = 0; i < columns.back().size(); ++i) out[int64_t(i) * stride] = 0;
  const size_t first = motion.architecture->adds_masks() ? 0 : motion.stages.size() - 1;
  for (size_t k = first; k < motion.stages.size(); ++k)
    add_row<T, 1>(motion.stages[k], row, columns[k], kFlow, T(1), out, stride, scratch);
}

/// A coordinate within the picture. NaN stays, so that it is seen in the result.
template <typename T>
T inside(T at, int64_t size) {
  return at < 0 ? T(0) : at > T(size - 1) ? T(size - 1) : at;
}

/// Adds `share` times the frame [height, width, pixel_size] at (x, y), outside of it that of its border, to `sum`: of
/// each pixel the first vectors.
template <typename T, int64_t kVectors>
inline void add_sample(const T* data, int64_t height, int64_t width, int64_t pixel_size, T x, T y, T share, T* sum) {
  x = inside(x, width), y = inside(y, height);
  const int64_t left = x >= 0 ? int64_t(x) : 0, top = y >= 0 ? int64_t(y) : 0;
  const int64_t right = std::min(left + 1, width - 1), bottom = std::min(top + 1, height - 1);
  const T across = x - T(left), down = y - T(top);
  const T shares[4] = {share * (1 - across) * (1 - down), share * across * (1 - down), share * (1 - across) * down,
                       share * across * down};
  const T* const pixels[4] = {data + (top * width + left) * pixel_size, data + (top * width + right) * pixel_size,
                              data + (bottom * width + left) * pixel_size,
                              data + (bottom * width + right) * pixel_size};
  for (int64_t v = 0; v < kVectors; ++v) {
    Vector<T> total;
    std::memcpy(&total, sum + v * kVector, sizeof total);
    for (int64_t i = 0; i < 4; ++i) {
      Vector<T> pixel;
      std::memcpy(&pixel, pixels[i] + v * kVector, sizeof pixel);
      total += pixel * shares[i];
    }
    std::memcpy(sum + v * kVector, &total, sizeof total);
  }
}

/// What makes rows of one stage's input.
template <typename T, int64_t kVectors>
class Maker {
 public:
  Maker(const Pair& pair, const Motion& motion, int64_t scale)
      : pair_(pair), motion_(motion), scale_(scale), width_(motion.width / scale) {
    std::vector<double> centres;
    for (int64_t x = 0; x < width_; ++x) {
      const double centre = (double(x) + 0.5) * double(scale) - 0.5;
      centres.push_back(centre);
      if (scale > 1) points_.push_back(centre - 0.5);
      points_.push_back(scale > 1 ? centre + 0.5 : centre);
    }
    if (motion.stages.empty()) return;
    at_points_ = columns_at<T>(motion, points_);
    at_centres_ = columns_at<T>(motion, centres);
  }

  Tensor rows(int64_t first, int64_t end) const {
    const int64_t channels = motion_.architecture->inputs(motion_.stages.empty() ? 0 : 1);
    const Tensor out = at::empty({1, end - first, width_, channels}, pair_.first.packed.options());
    std::vector<T> frames(size_t(2 * width_ * kPixel)), flow(points_.size() * kFlow), scratch;
    for (int64_t row = first; row < end; ++row) {
      std::fill(frames.begin(), frames.end(), T(0));
      const double centre = (double(row) + 0.5) * double(scale_) - 0.5;
      for (const double y : scale_ > 1 ? std::vector<double>{centre - 0.5, centre + 0.5} : std::vector<double>{centre})
        add_frames(y, frames, flow, scratch);
      write(out.data_ptr<T>() + (row - first) * width_ * channels, channels, centre, frames, flow, scratch);
    }
    return out;
  }

 private:
  static constexpr int64_t kPixel = kVectors * kVector;

  /// Adds both frames in one of the rows that a row of the input is the mean of.
  void add_frames(double y, std::vector<T>& frames, std::vector<T>& flow, std::vector<T>& scratch) const {
    const bool moves = !motion_.stages.empty();
    if (moves) flow_row(motion_, y, at_points_, flow, scratch);
    const size_t points = scale_ > 1 ? 2 : 1;
    const T share = scale_ > 1 ? T(0.25) : T(1);
    for (int64_t frame = 0; frame < 2; ++frame) {
      const T* const data = (frame == 0 ? pair_.first : pair_.second).packed.template const_data_ptr<T>();
      T* const sums = frames.data() + frame * width_ * kPixel;
      for (size_t i = 0; i < points_.size(); ++i) {
        const T* const by = &flow[i * kFlow + size_t(2 * frame)];
        add_sample<T, kVectors>(data, motion_.height, motion_.width, kPixel, T(points_[i]) + (moves ? by[0] : T(0)),
                                T(y) + (moves ? by[1] : T(0)), share, sums + int64_t(i / points) * kPixel);
      }
    }
  }

  /// Puts a row together, in the order of the network: both pictures, both features, time, mask, carried channels,
  /// flow.
  void write(T* out, int64_t channels, double centre, const std::vector<T>& frames, std::vector<T>& flow,
             std::vector<T>& scratch) const {
    const int64_t features = motion_.architecture->features(), carried = motion_.architecture->carried();
    const int64_t time = 6 + 2 * features;
    for (int64_t x = 0; x < width_; ++x) {
      T* const to = out + x * channels;
      for (int64_t frame = 0; frame < 2; ++frame) {
        const T* const from = &frames[size_t((frame * width_ + x) * kPixel)];
        for (int64_t c = 0; c < 3; ++c) to[frame * 3 + c] = from[c];
        for (int64_t c = 0; c < features; ++c) to[6 + frame * features + c] = from[3 + c];
      }
      to[time] = T(pair_.time);
    }
    if (motion_.stages.empty()) return;
    mask_row(motion_, centre, at_centres_, out + time + 1, channels, scratch);
    if (carried > 0) {
      for (int64_t x = 0; x < width_; ++x) std::fill_n(out + x * channels + time + 2, carried, T(0));
      add_row<T, 8>(motion_.stages.back(), centre, at_centres_.back(), 5, T(1), out + time + 2, channels, scratch);
    }
    if (scale_ > 1) {
      flow.resize(size_t(width_) * kFlow);
      flow_row(motion_, centre, at_centres_, flow, scratch);
    }
    for (int64_t x = 0; x < width_; ++x)
      for (int64_t c = 0; c < kFlow; ++c)
        out[x * channels + time + 2 + carried + c] = flow[size_t(x * kFlow + c)] / T(scale_);
    flow.resize(points_.size() * kFlow);
  }

  const Pair pair_;
  const Motion& motion_;
  const int64_t scale_, width_;
  std::vector<double> points_;  // columns of the frames that the input's are means of
  Columns<T> at_points_, at_centres_;
};

template <typename T>
Rows maker_of(const Pair& pair, const Motion& motion, int64_t scale) {
  const auto rows = [](auto maker) -> Rows {
    return [maker = std::move(maker)](int64_t first, int64_t end) { return maker->rows(first, end); };
  };
  switch (pair.first.packed.size(2) / kVector) {
    case 1:
      return rows(std::make_shared<Maker<T, 1>>(pair, motion, scale));
    case 2:
      return rows(std::make_shared<Maker<T, 2>>(pair, motion, scale));
    default:
      return rows(std::make_shared<Maker<T, 3>>(pair, motion, scale));
  }
}

template <typename T>
Tensor merge(const Pair& pair, const Motion& motion) {
  const int64_t height = pair.first.height, width = pair.first.width, pixel = pair.first.packed.size(2);
  std::vector<double> positions(size_t(width), 0);
  for (int64_t x = 0; x < width; ++x) positions[size_t(x)] = double(x);
  const Columns<T> columns = columns_at<T>(motion, positions);
  const T* const frames[2] = {pair.first.packed.const_data_ptr<T>(), pair.second.packed.const_data_ptr<T>()};
  const Tensor out = at::empty({1, 3, height, width}, pair.first.packed.options());
  T* const to = out.data_ptr<T>();
  const auto sample = [&](int64_t frame, T x, T y, T* colour) {
    std::fill_n(colour, kVector, T(0));
    add_sample<T, 1>(frames[frame], motion.height, motion.width, pixel, x, y, T(1), colour);
  };
  constexpr int64_t kRows = 8;
  kernels::in_pieces((height + kRows - 1) / kRows, [&](int64_t piece) {
    std::vector<T> flow(size_t(width * kFlow)), mask(static_cast<size_t>(width)), scratch;
    for (int64_t y = piece * kRows; y < std::min(height, (piece + 1) * kRows); ++y) {
      flow_row(motion, double(y), columns, flow, scratch);
      mask_row(motion, double(y), columns, mask.data(), 1, scratch);
      for (int64_t x = 0; x < width; ++x) {
        T first[kVector], second[kVector];
        const T* const by = &flow[size_t(x * kFlow)];
        sample(0, T(x) + by[0], T(y) + by[1], first);
        sample(1, T(x) + by[2], T(y) + by[3], second);
        const T share = 1 / (1 + std::exp(-mask[size_t(x)]));
        for (int64_t c = 0; c < 3; ++c) {
          const T mixed = share * first[c] + (1 - share) * second[c];
          // Rounding alone leads out of [0, 1]; NaN stays.
          to[(c * height + y) * width + x] = mixed > 1 ? T(1) : mixed < 0 ? T(0) : mixed;
        }
      }
    }
  });
  return out;
}

}  // namespace

Rows input(const Pair& pair, const Motion& motion, int64_t scale) {
  return pair.first.packed.scalar_type() == at::kDouble ? maker_of<double>(pair, motion, scale)
                                                        : maker_of<float>(pair, motion, scale);
}

Tensor merged(const Pair& pair, const Motion& motion) {
  return pair.first.packed.scalar_type() == at::kDouble ? merge<double>(pair, motion) : merge<float>(pair, motion);
}

}  // namespace wan::rife::rows
