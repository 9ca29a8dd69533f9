#include "engine/compare/fidelity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/op/clones.h"
#include "kernels/op/pieces.h"

namespace wan {
namespace {

constexpr int64_t kChannels = 3, kTaps = kSsimWindow, kReach = kTaps / 2;
constexpr double kPeak = 255, kC1 = (.01 * kPeak) * (.01 * kPeak), kC2 = (.03 * kPeak) * (.03 * kPeak);
constexpr int64_t kRowsOfAPiece = 16;
/// Values of a row that are summed at once: their sums stay in the first cache.
constexpr int64_t kBlock = 256;

using Taps = std::array<double, kTaps>;

const Taps& gaussian() {
  static const Taps taps = [] {
    constexpr double kSigma = 1.5;
    Taps made;
    for (int64_t i = 0; i < kTaps; ++i)
      made[size_t(i)] = std::exp(-double((i - kReach) * (i - kReach)) / (2 * kSigma * kSigma));
    const double sum = std::accumulate(made.begin(), made.end(), 0.0);
    for (double& tap : made) tap /= sum;
    return made;
  }();
  return taps;
}

/// Of a row, or of the rows around it: weighted sums of the values of both frames, of their squares and of their products.
struct Sums {
  explicit Sums(size_t length) : a(length), b(length), squares(length), products(length) {}
  std::vector<double> a, b, squares, products;

  std::array<std::vector<double>*, 4> all() { return {&a, &b, &squares, &products}; }
};

WAN_CLONES uint64_t squared_differences(const uint8_t* a, const uint8_t* b, int64_t count) {
  uint64_t sum = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    uint32_t part = 0;  // at most 256 * 255^2
    for (int64_t i = start; i < std::min(count, start + kBlock); ++i) {
      const int difference = int(a[i]) - int(b[i]);
      part += uint32_t(difference * difference);
    }
    sum += part;
  }
  return sum;
}

WAN_CLONES void add_values(const uint8_t* __restrict x, const uint8_t* __restrict y, int64_t count, double weight,
                           double* __restrict a, double* __restrict b, double* __restrict squares,
                           double* __restrict products) {
  for (int64_t i = 0; i < count; ++i) {
    const int u = x[i], v = y[i];
    a[i] += weight * u;
    b[i] += weight * v;
    squares[i] += weight * (u * u + v * v);
    products[i] += weight * (u * v);
  }
}

WAN_CLONES void add_scaled(const double* __restrict x, int64_t count, double weight, double* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * x[i];
}

/// Down the columns of kTaps rows, one behind the other.
void sum_rows(const uint8_t* x, const uint8_t* y, int64_t length, Sums& sums) {
  for (std::vector<double>* each : sums.all()) std::fill(each->begin(), each->end(), 0);
  for (int64_t start = 0; start < length; start += kBlock)
    for (int64_t row = 0; row < kTaps; ++row)
      add_values(x + row * length + start, y + row * length + start, std::min(kBlock, length - start),
                 gaussian()[size_t(row)], &sums.a[size_t(start)], &sums.b[size_t(start)], &sums.squares[size_t(start)],
                 &sums.products[size_t(start)]);
}

/// Along a row, of which kReach pixels are left out on either side: `count` values.
void sum_columns(const std::vector<double>& row, int64_t count, std::vector<double>& sums) {
  std::fill(sums.begin(), sums.begin() + count, 0);
  for (int64_t start = 0; start < count; start += kBlock)
    for (int64_t tap = 0; tap < kTaps; ++tap)
      add_scaled(&row[size_t(start + tap * kChannels)], std::min(kBlock, count - start), gaussian()[size_t(tap)],
                 &sums[size_t(start)]);
}

WAN_CLONES void compare_sums(const double* __restrict a, const double* __restrict b, const double* __restrict squares,
                             const double* __restrict products, int64_t count, double* __restrict similar) {
  for (int64_t i = 0; i < count; ++i) {
    const double means = a[i] * a[i] + b[i] * b[i], mean = a[i] * b[i];
    similar[i] = (2 * mean + kC1) * (2 * (products[i] - mean) + kC2) / ((means + kC1) * (squares[i] - means + kC2));
  }
}

void check_frames(const char* what, const at::Tensor& a, const at::Tensor& b, int64_t least) {
  const auto is_frame = [](const at::Tensor& x) {
    return x.dim() == 3 && x.size(2) == kChannels && x.scalar_type() == at::kByte && x.is_cpu() && x.is_contiguous();
  };
  TORCH_CHECK(is_frame(a) && is_frame(b) && a.sizes() == b.sizes() && a.size(0) >= least && a.size(1) >= least, "[",
              what, "] frames must be uint8 [H, W, 3] on the CPU, contiguous, of one size, H and W at least ", least,
              ", got ", a.sizes(), " and ", b.sizes());
}

/// The sum of row(first, end) over pieces of rows, in their order.
template <typename Sum, typename Rows>
Sum sum_of_rows(int64_t height, const Rows& rows) {
  std::vector<Sum> sums(size_t((height + kRowsOfAPiece - 1) / kRowsOfAPiece));
  kernels::in_pieces(int64_t(sums.size()), [&](int64_t piece) {
    const int64_t first = piece * kRowsOfAPiece;
    sums[size_t(piece)] = rows(first, std::min(height, first + kRowsOfAPiece));
  });
  return std::accumulate(sums.begin(), sums.end(), Sum());
}

}  // namespace

double mean_squared_error(const at::Tensor& a, const at::Tensor& b) {
  check_frames("mean_squared_error", a, b, 1);
  const int64_t row = a.size(1) * kChannels;
  const uint8_t *const x = a.const_data_ptr<uint8_t>(), *const y = b.const_data_ptr<uint8_t>();
  const auto sum = sum_of_rows<uint64_t>(a.size(0), [&](int64_t first, int64_t end) {
    return squared_differences(x + first * row, y + first * row, (end - first) * row);
  });
  return double(sum) / double(a.numel());
}

double psnr(double mean_squared_error) {
  if (mean_squared_error == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(kPeak * kPeak / mean_squared_error);
}

double ssim(const at::Tensor& a, const at::Tensor& b) {
  check_frames("ssim", a, b, kSsimWindow);
  const int64_t row = a.size(1) * kChannels, inner = row - (kTaps - 1) * kChannels, rows = a.size(0) - (kTaps - 1);
  const uint8_t *const x = a.const_data_ptr<uint8_t>(), *const y = b.const_data_ptr<uint8_t>();
  const auto sum = sum_of_rows<double>(rows, [&](int64_t first, int64_t end) {
    Sums down{size_t(row)}, whole{size_t(inner)};
    std::vector<double> similar(static_cast<size_t>(inner));
    double all = 0;
    for (int64_t i = first; i < end; ++i) {
      sum_rows(x + i * row, y + i * row, row, down);
      for (size_t each = 0; each < 4; ++each) sum_columns(*down.all()[each], inner, *whole.all()[each]);
      compare_sums(whole.a.data(), whole.b.data(), whole.squares.data(), whole.products.data(), inner, similar.data());
      all += std::accumulate(similar.begin(), similar.end(), 0.0);
    }
    return all;
  });
  return sum / double(rows * inner);
}

}  // namespace wan
