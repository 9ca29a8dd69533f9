// Loops over values in float32 on the CPU, as vectors.
#pragma once

#include <cstdint>

namespace wan::kernels {

/// values[i] *= factor.
void multiply(float* values, int64_t count, float factor);

/// Each group of `order` values times the regular Hadamard matrix of that order (coded_matrix.h) in place.
///   order: a power of 4 that divides count
void rotate_groups(float* values, int64_t count, int64_t order);

}  // namespace wan::kernels
