#include "kernels/dequantise/value_loops.h"

#include <cmath>

#include "kernels/dequantise/clones.h"

namespace wan::kernels {
namespace {

/// One stage: each four at distance `stride` -> their sum less twice their reverse.
WAN_CLONES void butterflies(float* values, int64_t count, int64_t stride) {
  for (int64_t four = 0; four < count; four += 4 * stride) {
    float *a = values + four, *b = a + stride, *c = b + stride, *d = c + stride;
    for (int64_t i = 0; i < stride; ++i) {
      const float first = a[i], second = b[i], third = c[i], last = d[i];
      const float sum = ((first + second) + third) + last;
      a[i] = sum - 2 * last;
      b[i] = sum - 2 * third;
      c[i] = sum - 2 * second;
      d[i] = sum - 2 * first;
    }
  }
}

}  // namespace

WAN_CLONES void multiply(float* values, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) values[i] *= factor;
}

void rotate_groups(float* values, int64_t count, int64_t order) {
  for (int64_t stride = 1; stride < order; stride *= 4) butterflies(values, count, stride);
  multiply(values, count, float(1 / std::sqrt(double(order))));
}

}  // namespace wan::kernels
