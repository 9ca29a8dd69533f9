#include "kernels/policy.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/cuda.h"
#include "kernels/hadamard.h"
#include "kernels/launch.h"

namespace wan::kernels {
namespace {

Policy policy_of_environment() {
  const char* value = std::getenv("WAN_KERNELS");
  return value && std::string_view(value) == "reference" ? Policy::Reference : Policy::Fused;
}

std::atomic<Policy>& current() {
  static std::atomic<Policy> policy = policy_of_environment();
  return policy;
}

bool is_half(at::ScalarType dtype) {
  return dtype == at::kBFloat16 || dtype == at::kHalf;
}

}  // namespace

void set_policy(Policy policy) {
  current() = policy;
}

Policy policy() {
  return current();
}

bool use_libraries(const at::Tensor& x) {
  return kFusedBuilt && x.is_cuda() && policy() == Policy::Fused && !x.requires_grad();
}

bool use_fused(const at::Tensor& x) {
  if constexpr (kFusedBuilt) return use_libraries(x) && cuda::has_kernels(x.device());
  return false;
}

bool takes_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || is_half(dtype);
}

bool takes_row(int64_t channels, at::ScalarType dtype) {
  return takes_dtype(dtype) && channels >= 1 && channels <= kMaxRowChannels;
}

bool takes_rope(int64_t heads, int64_t head_dim, at::ScalarType dtype) {
  return takes_row(heads * head_dim, dtype) && head_dim % 2 == 0;
}

bool takes_pixel(int64_t channels, at::ScalarType in, at::ScalarType out) {
  return takes_dtype(in) && takes_dtype(out) && (in == out || in == at::kFloat) && channels >= 1 &&
         channels <= kMaxPixelChannels;
}

bool takes_head(int64_t head_dim, at::ScalarType dtype) {
  return head_dim == kAttentionHeadDim && is_half(dtype);
}

bool takes_rotation(int64_t channels, at::ScalarType dtype) {
  return takes_row(channels, dtype) && channels % hadamard::kSlice == 0;
}

bool takes_norm_int8(int64_t channels, at::ScalarType dtype) {
  return takes_dtype(dtype) && takes_rotation(channels, at::kFloat);
}

bool takes_int8(int64_t depth, int64_t channels, at::ScalarType dtype) {
  return takes_rotation(depth, dtype) && is_half(dtype) && channels >= 2 && channels % 2 == 0 && channels <= INT32_MAX;
}

}  // namespace wan::kernels
