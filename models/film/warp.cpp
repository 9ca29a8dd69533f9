#include "models/film/warp.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/op/clones.h"
#include "kernels/op/pieces.h"

namespace wan::film {
namespace {

using at::Tensor;

constexpr int64_t kRowsOfPiece = 4;

/// Pixels of rows that lie channels last, of which some channels are used.
template <typename T>
struct Pixels {
  explicit Pixels(const Tensor& x) : data(x.data_ptr<T>()), row(x.stride(2)), column(x.stride(3)) {}
  T* at(int64_t y, int64_t x) const { return data + y * row + x * column; }

  T* data;
  int64_t row, column;  // strides
};

/// Where a row or column of a picture is read: between two pixels.
template <typename T>
struct Place {
  /// NaN reads the first one: weights that are broken give a picture, which other checks refuse.
  Place(T position, int64_t size) {
    const T inside = position > 0 ? std::min(position, T(size - 1)) : T(0);
    first = int64_t(inside);
    second = std::min(first + 1, size - 1);
    part = inside - T(first);
  }
  int64_t first, second;
  T part;  // of the second
};

/// The pixel between four, by their weights.
template <typename T>
inline void blend_all(T* __restrict__ to, const std::array<const T*, 4>& from, const std::array<T, 4>& weights,
                      int64_t channels) {
  const T *a = from[0], *b = from[1], *c = from[2], *d = from[3];
  const T wa = weights[0], wb = weights[1], wc = weights[2], wd = weights[3];
  for (int64_t i = 0; i < channels; ++i) to[i] = (wa * a[i] + wb * b[i]) + (wc * c[i] + wd * d[i]);
}
WAN_CLONES void blend(float* to, const std::array<const float*, 4>& from, const std::array<float, 4>& weights,
                      int64_t channels) {
  blend_all<float>(to, from, weights, channels);
}
void blend(double* to, const std::array<const double*, 4>& from, const std::array<double, 4>& weights,
           int64_t channels) {
  blend_all<double>(to, from, weights, channels);
}

template <typename T>
void warp_rows(const Tensor& out, const Tensor& source, const Tensor& flow, T scale, int64_t first_row) {
  const Pixels<T> to(out), from(source), moves(flow);
  const int64_t channels = out.size(1), rows = out.size(2), width = out.size(3), height = source.size(2);
  const int64_t axis = flow.stride(1);
  kernels::in_pieces((rows + kRowsOfPiece - 1) / kRowsOfPiece, [&](int64_t piece) {
    for (int64_t row = piece * kRowsOfPiece; row < std::min(rows, (piece + 1) * kRowsOfPiece); ++row)
      for (int64_t column = 0; column < width; ++column) {
        const T* move = moves.at(first_row + row, column);
        const Place<T> x(T(column) + scale * move[0], width), y(T(first_row + row) + scale * move[axis], height);
        blend(to.at(row, column),
              {from.at(y.first, x.first), from.at(y.first, x.second), from.at(y.second, x.first),
               from.at(y.second, x.second)},
              {(1 - y.part) * (1 - x.part), (1 - y.part) * x.part, y.part * (1 - x.part), y.part * x.part}, channels);
      }
  });
}

/// The same by whole-tensor operations, for any device: the four pixels around each place, by rows of channels.
void warp_by_rows(const Tensor& out, const Tensor& source, const Tensor& flow, double scale, int64_t first_row) {
  constexpr int64_t kPixels = 1 << 18;  // at once: bounds the memory
  const int64_t channels = out.size(1), width = out.size(3), height = source.size(2);
  const Tensor pixels = source.permute({0, 2, 3, 1}).reshape({height * width, channels});
  const auto options = flow.options().dtype(at::promote_types(flow.scalar_type(), at::kFloat));
  const int64_t band = std::max<int64_t>(1, kPixels / width);
  for (int64_t row = 0; row < out.size(2); row += band) {
    const int64_t rows = std::min(band, out.size(2) - row);
    const Tensor move = flow.narrow(2, first_row + row, rows).to(options).mul(scale);
    const Tensor x = move.select(1, 0).add(at::arange(width, options)).nan_to_num(0).clamp(0, width - 1);
    const Tensor lines = at::arange(first_row + row, first_row + row + rows, options).unsqueeze(1);
    const Tensor y = move.select(1, 1).add(lines).nan_to_num(0).clamp(0, height - 1);
    const auto place = [](const Tensor& position) { return position.floor().to(at::kLong); };
    const Tensor left = place(x), top = place(y);
    const Tensor right = (left + 1).clamp_max(width - 1), bottom = (top + 1).clamp_max(height - 1);
    const auto read = [&](const Tensor& at_row, const Tensor& at_column) {
      return pixels.index_select(0, (at_row * width + at_column).flatten());
    };
    const Tensor across = (x - left).to(out.scalar_type()).flatten().unsqueeze(1);
    const Tensor down = (y - top).to(out.scalar_type()).flatten().unsqueeze(1);
    const Tensor above = at::lerp(read(top, left), read(top, right), across);
    const Tensor below = at::lerp(read(bottom, left), read(bottom, right), across);
    out.narrow(2, row, rows).copy_(at::lerp(above, below, down).view({1, rows, width, channels}).permute({0, 3, 1, 2}));
  }
}

template <typename T>
void double_rows(const Tensor& out, const Tensor& taps, int64_t first_row) {
  const Pixels<T> to(out);
  const T* products = taps.data_ptr<T>();
  const int64_t channels = out.size(1), rows = out.size(2), width = out.size(3), height = 2 * taps.size(0);
  const std::vector<T> zeros(size_t(channels), T(0));
  kernels::in_pieces((rows + kRowsOfPiece - 1) / kRowsOfPiece, [&](int64_t piece) {
    for (int64_t row = piece * kRowsOfPiece; row < std::min(rows, (piece + 1) * kRowsOfPiece); ++row)
      for (int64_t column = 0; column < width; ++column) {
        const auto tap = [&](int64_t down, int64_t across) {
          const int64_t y = first_row + row + down, x = column + across;
          if (y >= height || x >= width) return zeros.data();
          return products + ((y / 2 * (width / 2) + x / 2) * 4 + 2 * down + across) * channels;
        };
        blend(to.at(row, column), {tap(0, 0), tap(0, 1), tap(1, 0), tap(1, 1)}, {1, 1, 1, 1}, channels);
      }
  });
}

/// The same by whole-tensor operations, for any device.
void double_by_taps(const Tensor& out, const Tensor& taps, int64_t first_row) {
  const auto index = [&](int64_t first, int64_t count) {
    return at::arange(first, first + count, taps.options().dtype(at::kLong)).floor_divide(2);
  };
  const int64_t height = 2 * taps.size(0), width = out.size(3);
  for (int64_t down = 0; down < 2; ++down)
    for (int64_t across = 0; across < 2; ++across) {
      const int64_t rows = std::min(out.size(2), height - first_row - down), columns = width - across;
      const Tensor products = taps.select(2, 2 * down + across)
                                  .index_select(0, index(first_row + down, rows))
                                  .index_select(1, index(across, columns))
                                  .permute({2, 0, 1})
                                  .unsqueeze(0);
      const Tensor part = out.narrow(2, 0, rows).narrow(3, 0, columns);
      if (down == 0 && across == 0)
        part.copy_(products);
      else
        part.add_(products);
    }
}

bool lies_channels_last(const Tensor& x) {
  return x.stride(1) == 1 || x.size(1) == 1;
}

}  // namespace

void warp_into(const Tensor& out, const Tensor& source, const Tensor& flow, double scale, int64_t first_row) {
  TORCH_CHECK(out.dim() == 4 && source.dim() == 4 && flow.dim() == 4 && out.size(0) == 1 && source.size(0) == 1 &&
                  out.size(1) == source.size(1) && out.size(3) == source.size(3) && flow.size(1) == 2 &&
                  flow.size(2) == source.size(2) && flow.size(3) == source.size(3) && first_row >= 0 &&
                  first_row + out.size(2) <= source.size(2),
              "[warp_into] wants out [1, C, rows, W], source [1, C, H, W] and flow [1, 2, H, W], got ", out.sizes(),
              ", ", source.sizes(), " and ", flow.sizes(), " from row ", first_row);
  TORCH_CHECK(out.scalar_type() == source.scalar_type() && flow.scalar_type() == source.scalar_type(),
              "[warp_into] wants one dtype, got ", out.scalar_type(), ", ", source.scalar_type(), " and ",
              flow.scalar_type());
  const bool own = out.is_cpu() && lies_channels_last(out) && lies_channels_last(source);
  if (own && out.scalar_type() == at::kFloat) return warp_rows<float>(out, source, flow, float(scale), first_row);
  if (own && out.scalar_type() == at::kDouble) return warp_rows<double>(out, source, flow, scale, first_row);
  warp_by_rows(out, source, flow, scale, first_row);
}

void double_into(const Tensor& out, const Tensor& taps, int64_t first_row) {
  TORCH_CHECK(out.dim() == 4 && taps.dim() == 4 && out.size(0) == 1 && taps.size(2) == 4 &&
                  taps.size(3) == out.size(1) && out.size(3) == 2 * taps.size(1) && first_row >= 0 &&
                  first_row + out.size(2) <= 2 * taps.size(0) && taps.is_contiguous() &&
                  out.scalar_type() == taps.scalar_type(),
              "[double_into] wants out [1, C, rows, 2W] and contiguous taps [H, W, 4, C], got ", out.sizes(), " and ",
              taps.sizes(), " from row ", first_row);
  const bool own = out.is_cpu() && lies_channels_last(out);
  if (own && out.scalar_type() == at::kFloat) return double_rows<float>(out, taps, first_row);
  if (own && out.scalar_type() == at::kDouble) return double_rows<double>(out, taps, first_row);
  double_by_taps(out, taps, first_row);
}

}  // namespace wan::film
