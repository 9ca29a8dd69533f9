// One form of message for wrong shapes and dtypes: `[op] name must be [B, *, 128], got ...`.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <utility>

namespace wan::kernels {

/// A size that may be anything in the shapes below.
inline constexpr int64_t kAny = -1;

/// Throws c10::Error unless `tensor` is defined and has the sizes `want`; kAny stands for every size.
void check_shape(const char* op, const char* name, const at::Tensor& tensor, at::IntArrayRef want);
/// The same for the last axes alone: `want` are the trailing sizes.
void check_trailing(const char* op, const char* name, const at::Tensor& tensor, at::IntArrayRef want);
/// Throws c10::Error unless the dtype is one of `allowed`.
void check_dtype(const char* op, const char* name, const at::Tensor& tensor,
                 std::initializer_list<at::ScalarType> allowed);
/// Throws c10::Error unless x is [B, L, C] in float32 or float64, `rows` (undefined ones aside) are [S, C], and `ends`
/// [S] rise to L.
void check_segments(const char* op, const at::Tensor& x, std::initializer_list<std::pair<const char*, at::Tensor>> rows,
                    at::IntArrayRef ends);

/// float32, or float64 where `dtype` is that: what norms, softmax and modulation compute in.
inline at::ScalarType accumulation(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace wan::kernels
