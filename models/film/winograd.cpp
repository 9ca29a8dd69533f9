#include "models/film/winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/dequantise/clones.h"
#include "kernels/op/pieces.h"

namespace wan::film {
namespace {

using at::Tensor;

/// Tiles of 2x2 outputs of a piece: so many that a product of matrices is worth its call, so few that a piece stays in the
/// processor's cache where channels are few.
constexpr int64_t kTiles = 256;
constexpr int64_t kProducts = 16;

/// One tile's input, 4x4 pixels, for all channels: B^T d B, each of the 16 results `stride` values apart.
template <typename T>
inline void take_tile(const std::array<const T*, 16>& pixels, T* __restrict__ to, int64_t stride, int64_t channels) {
  const T* const* p = pixels.data();
  for (int64_t i = 0; i < channels; ++i) {
    T d[16], rows[16];
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) d[k] = p[k][i];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      rows[k] = d[k] - d[8 + k];
      rows[4 + k] = d[4 + k] + d[8 + k];
      rows[8 + k] = d[8 + k] - d[4 + k];
      rows[12 + k] = d[4 + k] - d[12 + k];
    }
#pragma GCC unroll 4
    for (int k = 0; k < 16; k += 4) {
      to[(k + 0) * stride + i] = rows[k] - rows[k + 2];
      to[(k + 1) * stride + i] = rows[k + 1] + rows[k + 2];
      to[(k + 2) * stride + i] = rows[k + 2] - rows[k + 1];
      to[(k + 3) * stride + i] = rows[k + 1] - rows[k + 3];
    }
  }
}

/// One tile's output, 2x2 pixels, for all channels: A^T m A, finished.
template <typename T>
inline void give_tile(const T* __restrict__ m, int64_t stride, const T* __restrict__ bias,
                      const std::array<const T*, 4>& add, T slope, const std::array<T*, 4>& pixels, int64_t channels) {
  T* __restrict__ p0 = pixels[0], * __restrict__ p1 = pixels[1], * __restrict__ p2 = pixels[2], * __restrict__ p3 = pixels[3];
  const T *a0 = add[0], *a1 = add[1], *a2 = add[2], *a3 = add[3];
  for (int64_t i = 0; i < channels; ++i) {
    T upper[4], lower[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const T second = m[(4 + k) * stride + i], third = m[(8 + k) * stride + i];
      upper[k] = m[k * stride + i] + second + third;
      lower[k] = second - third - m[(12 + k) * stride + i];
    }
    const T b = bias[i];
    const T y0 = upper[0] + upper[1] + upper[2] + b + a0[i], y1 = upper[1] - upper[2] - upper[3] + b + a1[i];
    const T y2 = lower[0] + lower[1] + lower[2] + b + a2[i], y3 = lower[1] - lower[2] - lower[3] + b + a3[i];
    p0[i] = y0 > 0 ? y0 : slope * y0;
    p1[i] = y1 > 0 ? y1 : slope * y1;
    p2[i] = y2 > 0 ? y2 : slope * y2;
    p3[i] = y3 > 0 ? y3 : slope * y3;
  }
}

WAN_CLONES void take(const std::array<const float*, 16>& pixels, float* to, int64_t stride, int64_t channels) {
  take_tile<float>(pixels, to, stride, channels);
}
void take(const std::array<const double*, 16>& pixels, double* to, int64_t stride, int64_t channels) {
  take_tile<double>(pixels, to, stride, channels);
}
WAN_CLONES void give(const float* m, int64_t stride, const float* bias, const std::array<const float*, 4>& add,
                     float slope, const std::array<float*, 4>& pixels, int64_t channels) {
  give_tile<float>(m, stride, bias, add, slope, pixels, channels);
}
void give(const double* m, int64_t stride, const double* bias, const std::array<const double*, 4>& add, double slope,
          const std::array<double*, 4>& pixels, int64_t channels) {
  give_tile<double>(m, stride, bias, add, slope, pixels, channels);
}

/// Where the pixels of a picture that lies channels last are.
template <typename T>
struct Picture {
  Picture(T* data, const Tensor& x)
      : data(data), rows(x.size(2)), columns(x.size(3)), row(x.stride(2)), column(x.stride(3)) {}
  /// Of a pixel that may lie outside: then `otherwise`.
  T* at(int64_t y, int64_t x, T* otherwise) const {
    const bool inside = y >= 0 && y < rows && x >= 0 && x < columns;
    return inside ? data + y * row + x * column : otherwise;
  }

  T* data;
  int64_t rows, columns, row, column;  // sizes, strides
};

/// `above`: rows of zeros above the first of x that outputs see.
template <typename T>
void convolve(const Tensor& x, const Tensor& weight, const Finish& finish, const Tensor& out, int64_t above) {
  const Picture<const T> from(x.const_data_ptr<T>(), x);
  const Picture<T> to(out.mutable_data_ptr<T>(), out);
  const int64_t in_channels = x.size(1), out_channels = out.size(1);
  const std::vector<T> zeros(size_t(std::max(in_channels, out_channels)), T(0));
  const T* bias = finish.bias.defined() ? finish.bias.const_data_ptr<T>() : zeros.data();
  const Tensor& add = finish.add.defined() ? finish.add : out;
  const Picture<const T> added(finish.add.defined() ? add.const_data_ptr<T>() : nullptr, add);
  const int64_t across = (to.columns + 1) / 2, tiles = (to.rows + 1) / 2 * across;

  kernels::in_pieces((tiles + kTiles - 1) / kTiles, [&](int64_t piece) {
    const int64_t first = piece * kTiles, count = std::min(kTiles, tiles - first);
    const Tensor taken = at::empty({kProducts, count, in_channels}, weight.options());
    Tensor products = at::empty({kProducts, count, out_channels}, weight.options());
    T* values = taken.mutable_data_ptr<T>();
    for (int64_t tile = 0; tile < count; ++tile) {
      const int64_t row = (first + tile) / across * 2 - above, column = (first + tile) % across * 2 - 1;
      std::array<const T*, 16> pixels;
      for (int64_t i = 0; i < 16; ++i) pixels[size_t(i)] = from.at(row + i / 4, column + i % 4, zeros.data());
      take(pixels, values + tile * in_channels, count * in_channels, in_channels);
    }
    at::bmm_out(products, taken, weight);

    const T* sums = products.const_data_ptr<T>();
    std::vector<T> outside(static_cast<size_t>(4 * out_channels));  // where pixels beyond an odd size go
    for (int64_t tile = 0; tile < count; ++tile) {
      const int64_t row = (first + tile) / across * 2, column = (first + tile) % across * 2;
      std::array<T*, 4> pixels;
      std::array<const T*, 4> add_pixels;
      for (int64_t i = 0; i < 4; ++i) {
        pixels[size_t(i)] = to.at(row + i / 2, column + i % 2, outside.data() + i * out_channels);
        add_pixels[size_t(i)] = added.data ? added.at(row + i / 2, column + i % 2, zeros.data()) : zeros.data();
      }
      give(sums + tile * out_channels, count * out_channels, bias, add_pixels, T(finish.slope), pixels, out_channels);
    }
  });
}

}  // namespace

Tensor winograd_weight(const Tensor& weight) {
  const Tensor g = at::tensor({1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0}, at::kDouble).view({4, 3});
  const auto transform = g.to(weight.options());
  // [out, in, 4, 4] -> [16, in, out]
  const Tensor both = at::matmul(at::matmul(transform, weight), transform.t());
  return both.permute({2, 3, 1, 0}).reshape({kProducts, weight.size(1), weight.size(0)}).contiguous();
}

Tensor winograd(const Tensor& x, const Tensor& weight, const Finish& finish, bool band) {
  const int64_t least = band ? 3 : 1;
  TORCH_CHECK(x.dim() == 4 && x.size(0) == 1 && x.size(2) >= least && (x.stride(1) == 1 || x.size(1) == 1) &&
                  weight.dim() == 3 && weight.size(0) == kProducts && weight.size(1) == x.size(1) &&
                  weight.scalar_type() == x.scalar_type() && x.is_cpu(),
              "[winograd] wants x [1, in, H, W] channels last on the CPU and weight [16, in, out], got ", x.sizes(),
              " and ", weight.sizes());
  const int64_t rows = band ? x.size(2) - 2 : x.size(2);
  const Tensor out =
      at::empty({1, weight.size(2), rows, x.size(3)}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  TORCH_CHECK(!finish.add.defined() || (finish.add.sizes() == out.sizes() && finish.add.stride(1) == 1),
              "[winograd] wants what is added like the output ", out.sizes(), ", channels last, got ",
              finish.add.sizes());
  const int64_t above = band ? 0 : 1;
  if (x.scalar_type() == at::kFloat)
    convolve<float>(x, weight, finish, out, above);
  else if (x.scalar_type() == at::kDouble)
    convolve<double>(x, weight, finish, out, above);
  else
    TORCH_CHECK(false, "[winograd] wants float32 or float64, got ", x.scalar_type());
  return out;
}

int64_t winograd_scratch(int64_t in, int64_t out, int64_t height, int64_t width) {
  const int64_t tiles = (height + 1) / 2 * ((width + 1) / 2);
  const int64_t pieces = (tiles + kTiles - 1) / kTiles;
  return kProducts * std::min(tiles, kTiles) * (in + out) * std::min<int64_t>(pieces, at::get_num_threads());
}

}  // namespace wan::film
