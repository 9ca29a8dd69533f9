#include "kernels/convolution/winograd.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/op/clones.h"
#include "kernels/op/pieces.h"
#include "kernels/op/work.h"

#ifdef __GNUC__  // else the choice between slopes is no loop of vectors: a comparison with NaN might be told of
#pragma GCC optimize("no-trapping-math")
#endif

namespace wan::kernels {
namespace {

using at::Tensor;

constexpr int64_t kProducts = 16;

/// Tiles of 2x2 outputs of a piece: so many that a product of matrices is worth its call, so few that a piece stays in the
/// processor's cache where channels are few and that a small picture has several. Odd, so that the 16 values of a channel
/// do not lie in one set of the cache.
int64_t tiles_of_a_piece(int64_t tiles) {
  constexpr int64_t kFewest = 48, kMost = 128, kPieces = 8;
  return std::clamp((tiles + kPieces - 1) / kPieces, kFewest, kMost) | 1;
}

/// One tile's input, 4x4 pixels, for all channels: B^T d B, each of the 16 results `stride` values apart.
template <typename T>
inline void take_tile(const std::array<const T*, 16>& pixels, T* __restrict__ to, int64_t stride, int64_t channels) {
#pragma GCC ivdep
  for (int64_t i = 0; i < channels; ++i) {
    T d[16], rows[16];
#pragma GCC unroll 16
    for (size_t k = 0; k < 16; ++k) d[k] = pixels[k][i];
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

/// What finishes a tile's output: of each channel, and of each of the 2x2 pixels.
template <typename T>
struct Finishing {
  const T *bias, *slopes;
  std::array<const T*, 4> add, then;
};

/// One tile's output, 2x2 pixels, for all channels: A^T m A, finished.
template <typename T>
inline void give_tile(const T* __restrict__ m, int64_t stride, const Finishing<T>& finish,
                      const std::array<T*, 4>& pixels, int64_t channels) {
#pragma GCC ivdep
  for (int64_t i = 0; i < channels; ++i) {
    T upper[4], lower[4], y[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const T second = m[(4 + k) * stride + i], third = m[(8 + k) * stride + i];
      upper[k] = m[k * stride + i] + second + third;
      lower[k] = second - third - m[(12 + k) * stride + i];
    }
    y[0] = upper[0] + upper[1] + upper[2], y[1] = upper[1] - upper[2] - upper[3];
    y[2] = lower[0] + lower[1] + lower[2], y[3] = lower[1] - lower[2] - lower[3];
    const T bias = finish.bias[i], slope = finish.slopes[i];
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; ++k) {
      const T value = y[k] + bias + finish.add[k][i], below = slope * value;
      pixels[k][i] = (value > 0 ? value : below) + finish.then[k][i];
    }
  }
}

WAN_CLONES void take(const std::array<const float*, 16>& pixels, float* to, int64_t stride, int64_t channels) {
  take_tile<float>(pixels, to, stride, channels);
}
void take(const std::array<const double*, 16>& pixels, double* to, int64_t stride, int64_t channels) {
  take_tile<double>(pixels, to, stride, channels);
}
WAN_CLONES void give(const float* m, int64_t stride, const Finishing<float>& finish,
                     const std::array<float*, 4>& pixels, int64_t channels) {
  give_tile<float>(m, stride, finish, pixels, channels);
}
void give(const double* m, int64_t stride, const Finishing<double>& finish, const std::array<double*, 4>& pixels,
          int64_t channels) {
  give_tile<double>(m, stride, finish, pixels, channels);
}

/// Where the pixels of a picture that lies channels last are.
template <typename T>
struct Picture {
  Picture(T* data, const Tensor& x)
      : data(data), rows(x.size(2)), columns(x.size(3)), row(x.stride(2)), column(x.stride(3)) {}
  /// Of a pixel that may lie outside: then `otherwise`.
  T* at(int64_t y, int64_t x, T* otherwise) const {
    const bool inside = data && y >= 0 && y < rows && x >= 0 && x < columns;
    return inside ? data + y * row + x * column : otherwise;
  }

  T* data;                             // null: all of it lies outside
  int64_t rows, columns, row, column;  // sizes, strides
};

/// `above`: rows of zeros above the first of x that outputs see.
template <typename T>
void convolve(const Tensor& x, const Tensor& weight, const ConvolutionFinish& finish, const Tensor& out,
              int64_t above) {
  const Picture<const T> from(x.const_data_ptr<T>(), x);
  const Picture<T> to(out.mutable_data_ptr<T>(), out);
  const int64_t in_channels = x.size(1), out_channels = out.size(1);
  const std::vector<T> zeros(size_t(std::max(in_channels, out_channels)), T(0));
  const std::vector<T> slopes(static_cast<size_t>(out_channels), T(finish.slope));
  const auto channels_of = [](const Tensor& values, const std::vector<T>& otherwise) {
    return values.defined() ? values.const_data_ptr<T>() : otherwise.data();
  };
  const auto picture_of = [&](const Tensor& values) {
    return values.defined() ? Picture<const T>(values.const_data_ptr<T>(), values) : Picture<const T>(nullptr, out);
  };
  const T *const bias = channels_of(finish.bias, zeros), *const slope = channels_of(finish.slopes, slopes);
  const Picture<const T> add = picture_of(finish.add), then = picture_of(finish.then);
  const int64_t across = (to.columns + 1) / 2, tiles = (to.rows + 1) / 2 * across;
  const int64_t most = tiles_of_a_piece(tiles);

  in_pieces((tiles + most - 1) / most, [&](int64_t piece) {
    const int64_t first = piece * most, count = std::min(most, tiles - first);
    const Tensor taken = at::empty({kProducts, count, in_channels}, weight.options());
    Tensor products = at::empty({kProducts, count, out_channels}, weight.options());
    T* const values = taken.mutable_data_ptr<T>();
    for (int64_t tile = 0; tile < count; ++tile) {
      const int64_t row = (first + tile) / across * 2 - above, column = (first + tile) % across * 2 - 1;
      std::array<const T*, 16> pixels;
      for (int64_t i = 0; i < 16; ++i) pixels[size_t(i)] = from.at(row + i / 4, column + i % 4, zeros.data());
      take(pixels, values + tile * in_channels, count * in_channels, in_channels);
    }
    at::bmm_out(products, taken, weight);

    const T* const sums = products.const_data_ptr<T>();
    std::vector<T> outside(static_cast<size_t>(4 * out_channels));  // where pixels beyond an odd size go
    Finishing<T> finishing = {bias, slope, {}, {}};
    for (int64_t tile = 0; tile < count; ++tile) {
      const int64_t row = (first + tile) / across * 2, column = (first + tile) % across * 2;
      std::array<T*, 4> pixels;
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t y = row + i / 2, x = column + i % 2;
        pixels[size_t(i)] = to.at(y, x, outside.data() + i * out_channels);
        finishing.add[size_t(i)] = add.at(y, x, zeros.data());
        finishing.then[size_t(i)] = then.at(y, x, zeros.data());
      }
      give(sums + tile * out_channels, count * out_channels, finishing, pixels, out_channels);
    }
  });
}

}  // namespace

bool takes_winograd(int64_t in, int64_t out, at::Device device, at::ScalarType dtype) {
  constexpr int64_t kLeastChannels = 16;
  return device.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble) && in >= kLeastChannels &&
         out >= kLeastChannels;
}

Tensor winograd_weight(const Tensor& weight) {
  const Tensor g = at::tensor({1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0}, at::kDouble).view({4, 3});
  const auto transform = g.to(weight.options());
  // [out, in, 4, 4] -> [16, in, out]
  const Tensor both = at::matmul(at::matmul(transform, weight), transform.t());
  return both.permute({2, 3, 1, 0}).reshape({kProducts, weight.size(1), weight.size(0)}).contiguous();
}

Tensor winograd(const Tensor& x, const Tensor& weight, const ConvolutionFinish& finish, bool band) {
  const int64_t least = band ? 3 : 1;
  TORCH_CHECK(x.dim() == 4 && x.size(0) == 1 && x.size(2) >= least && (x.stride(1) == 1 || x.size(1) == 1) &&
                  weight.dim() == 3 && weight.size(0) == kProducts && weight.size(1) == x.size(1) &&
                  weight.scalar_type() == x.scalar_type() && x.is_cpu(),
              "[winograd] wants x [1, in, H, W] channels last on the CPU and weight [16, in, out], got ", x.sizes(),
              " and ", weight.sizes());
  const int64_t rows = band ? x.size(2) - 2 : x.size(2);
  const Tensor out =
      at::empty({1, weight.size(2), rows, x.size(3)}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  for (const Tensor& added : {finish.add, finish.then})
    TORCH_CHECK(!added.defined() || (added.sizes() == out.sizes() && added.stride(1) == 1),
                "[winograd] wants what is added like the output ", out.sizes(), ", channels last, got ", added.sizes());
  for (const Tensor& each : {finish.bias, finish.slopes})
    TORCH_CHECK(!each.defined() || (each.dim() == 1 && each.size(0) == weight.size(2) && each.is_contiguous()),
                "[winograd] wants bias and slopes [", weight.size(2), "], contiguous, got ", each.sizes());
  const Range range("winograd", [&] {
    const double pixels = double(rows * x.size(3)), products = double(9 * x.size(1));
    return RangeWork{.flops = 2 * pixels * products * double(weight.size(2)),  // as the convolution is defined
                     .bytes = double(x.nbytes() + out.nbytes()),
                     .ceiling = ceiling_of(x.scalar_type()),
                     .rows = rows * x.size(3),
                     .in = 9 * x.size(1),
                     .out = weight.size(2)};
  });
  const int64_t above = band ? 0 : 1;
  if (x.scalar_type() == at::kFloat)
    convolve<float>(x, weight, finish, out, above);
  else if (x.scalar_type() == at::kDouble)
    convolve<double>(x, weight, finish, out, above);
  else
    TORCH_CHECK(false, "[winograd] wants float32 or float64, got ", x.scalar_type());
  return out;
}

int64_t winograd_scratch(int64_t in, int64_t out, int64_t height, int64_t width, int64_t threads) {
  const int64_t tiles = (height + 1) / 2 * ((width + 1) / 2), piece = tiles_of_a_piece(tiles);
  const int64_t pieces = (tiles + piece - 1) / piece;
  return kProducts * std::min(tiles, piece) * (in + out) * std::min(pieces, threads);
}

}  // namespace wan::kernels
