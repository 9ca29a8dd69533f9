// What kernels of several operations take, as pure functions of widths and dtypes: decided without a GPU. What they do
// not take the reference does. What one operation alone takes stands in its folder.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace wan::kernels {

/// bfloat16 and float16: what tensor cores multiply.
bool is_half(at::ScalarType dtype);
/// Dtypes of activations: float32, bfloat16, float16.
bool takes_dtype(at::ScalarType dtype);
/// Rows that lie in the registers of a block: norms, residual, rotation.
bool takes_row(int64_t channels, at::ScalarType dtype);

}  // namespace wan::kernels
