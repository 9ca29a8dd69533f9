#include "kernels/dequantise/value_loops.h"

#include <cmath>

#include "kernels/op/clones.h"

namespace wan::kernels {
namespace {

/// One stage: each four at distance `stride` times H4, as multiply_by_h4 (kernels/linear/hadamard.cuh) adds.
WAN_CLONES void butterflies(float* values, int64_t count, int64_t stride) {
  for (int64_t four = 0; four < count; four += 4 * stride) {
    float *a = values + four, *b = a + stride, *c = b + stride, *d = c + stride;
    for (int64_t i = 0; i < stride; ++i) {
      const float first_sum = a[i] + b[i], first_difference = a[i] - b[i];
      const float second_sum = c[i] + d[i], second_difference = c[i] - d[i];
      a[i] = first_sum + second_difference;
      b[i] = first_sum - second_difference;
      c[i] = second_sum + first_difference;
      d[i] = second_sum - first_difference;
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
