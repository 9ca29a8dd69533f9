#include "engine/media/loudness.h"

#include <algorithm>
#include <cmath>

namespace wan {
namespace {

constexpr float kFullScale = 0.9999f;  // 16-bit's largest is 0.99997

double squares(const float* samples, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double(samples[i]) * samples[i];
  return sum;
}

}  // namespace

void Loudness::add(const at::Tensor& each, const at::Tensor& mixed) {
  channels.resize(size_t(each.size(0)));
  const int64_t count = each.size(1);
  for (int64_t c = 0; c < each.size(0); ++c) {
    const float* data = each.data_ptr<float>() + c * each.stride(0);
    channels[size_t(c)] += squares(data, count);
    for (int64_t i = 0; i < count; ++i) {
      const float size = std::abs(data[i]);
      peak = std::max(peak, size);
      full += size >= kFullScale;
    }
  }
  mean += squares(mixed.data_ptr<float>(), count);
  samples += each.numel();
}

}  // namespace wan
