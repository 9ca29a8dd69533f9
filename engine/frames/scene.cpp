#include "engine/frames/scene.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace wan {
namespace {

constexpr int kSide = SmallFrame::kSide, kChannels = 3, kTaps = 11, kReach = kTaps / 2;

using Volume = std::vector<double>;  // [3, 32, 32]

/// Where a small pixel takes its values from along one side: two neighbours and the weight of the second.
struct Sample {
  int64_t low, high;
  float weight;
};

Sample sample_at(int index, int64_t size) {
  const float at = std::max(0.0F, (float(index) + 0.5F) * float(size) / float(kSide) - 0.5F);
  const auto low = std::min<int64_t>(int64_t(at), size - 1);
  return {low, std::min(low + 1, size - 1), at - float(low)};
}

std::array<double, kTaps> gaussian() {
  std::array<double, kTaps> taps;
  double sum = 0;
  for (int i = 0; i < kTaps; ++i)
    sum += taps[size_t(i)] = std::exp(-double((i - kReach) * (i - kReach)) / (2 * 1.5 * 1.5));
  for (double& tap : taps) tap /= sum;
  return taps;
}

/// Along one axis of `length` values that lie `stride` apart; the edges are repeated.
Volume blurred(const Volume& from, int length, int stride) {
  static const std::array<double, kTaps> taps = gaussian();
  Volume to(from.size());
  for (int i = 0; i < int(from.size()); ++i) {
    const int at = i / stride % length, start = i - at * stride;
    double sum = 0;
    for (int tap = 0; tap < kTaps; ++tap)
      sum += taps[size_t(tap)] * from[size_t(start + std::clamp(at + tap - kReach, 0, length - 1) * stride)];
    to[size_t(i)] = sum;
  }
  return to;
}

Volume mean(const Volume& values) {
  return blurred(blurred(blurred(values, kSide, 1), kSide, kSide), kChannels, kSide * kSide);
}

template <typename Values>
Volume product(const Values& a, const Values& b) {
  Volume result(a.size());
  for (size_t i = 0; i < result.size(); ++i) result[i] = double(a[i]) * double(b[i]);
  return result;
}

void check_frame(const std::string& who, const at::Tensor& rgb) {
  if (rgb.dim() != 3 || rgb.size(2) != kChannels || rgb.scalar_type() != at::kByte || !rgb.is_cpu() ||
      !rgb.is_contiguous())
    throw std::invalid_argument("[" + who + "] a frame must be uint8 [H, W, 3] on the CPU, contiguous");
}

/// Row by row, so that most pairs that move are told by a few of them.
bool stands(const at::Tensor& first, const at::Tensor& second) {
  const int64_t row = first.size(1) * kChannels;
  const uint8_t *a = first.const_data_ptr<uint8_t>(), *b = second.const_data_ptr<uint8_t>();
  for (int64_t y = 0; y < first.size(0); ++y, a += row, b += row) {
    uint8_t most = 0;
    for (int64_t i = 0; i < row; ++i) {
      const uint8_t apart = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
      most = std::max(most, apart);
    }
    if (most > kStillLevels) return false;
  }
  return true;
}

}  // namespace

SmallFrame small_frame(const at::Tensor& rgb) {
  check_frame("small_frame", rgb);
  const int64_t height = rgb.size(0), width = rgb.size(1);
  const uint8_t* const pixels = rgb.const_data_ptr<uint8_t>();
  SmallFrame small;
  for (int y = 0; y < kSide; ++y) {
    const Sample row = sample_at(y, height);
    for (int x = 0; x < kSide; ++x) {
      const Sample column = sample_at(x, width);
      for (int c = 0; c < kChannels; ++c) {
        const auto value = [&](int64_t r, int64_t k) { return float(pixels[(r * width + k) * kChannels + c]); };
        const auto along = [&](int64_t r) {
          return value(r, column.low) * (1 - column.weight) + value(r, column.high) * column.weight;
        };
        const float mixed = along(row.low) * (1 - row.weight) + along(row.high) * row.weight;
        small.values[size_t((c * kSide + y) * kSide + x)] = mixed / 255;
      }
    }
  }
  return small;
}

double similarity(const SmallFrame& a, const SmallFrame& b) {
  constexpr double kLuminance = 0.01 * 0.01, kContrast = 0.03 * 0.03;  // of values up to 1
  const Volume first(a.values.begin(), a.values.end()), second(b.values.begin(), b.values.end());
  const Volume mean_a = mean(first), mean_b = mean(second);
  const Volume square_a = mean(product(first, first)), square_b = mean(product(second, second)),
               both = mean(product(first, second));
  double sum = 0;
  for (size_t i = 0; i < mean_a.size(); ++i) {
    const double aa = mean_a[i] * mean_a[i], bb = mean_b[i] * mean_b[i], ab = mean_a[i] * mean_b[i];
    const double variance = square_a[i] - aa + square_b[i] - bb, covariance = both[i] - ab;
    sum += (2 * ab + kLuminance) * (2 * covariance + kContrast) / ((aa + bb + kLuminance) * (variance + kContrast));
  }
  return sum / double(mean_a.size());
}

Pair pair_of(const at::Tensor& first, const at::Tensor& second) {
  check_frame("pair_of", first);
  check_frame("pair_of", second);
  if (first.sizes() != second.sizes()) throw std::invalid_argument("[pair_of] frames must be of one size");
  if (stands(first, second)) return Pair::Still;
  return similarity(small_frame(first), small_frame(second)) < kCutSimilarity ? Pair::Cut : Pair::Moving;
}

}  // namespace wan
