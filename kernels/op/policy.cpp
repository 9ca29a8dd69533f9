#include "kernels/op/policy.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/linear/hadamard.h"
#include "kernels/op/cuda.h"
#include "kernels/op/launch.h"

namespace wan::kernels {
namespace {

Policy policy_of_environment() {
  const char* value = std::getenv("WAN_KERNELS");
  return value && std::string_view(value) == "reference" ? Policy::Reference : Policy::Fused;
}

Wgmma wgmma_of_environment() {
  const char* value = std::getenv("WAN_WGMMA");
  const std::string_view asked = value ? value : "";
  return asked == "on" ? Wgmma::On : asked == "off" ? Wgmma::Off : Wgmma::Measured;
}

std::atomic<Wgmma>& current_wgmma() {
  static std::atomic<Wgmma> use = wgmma_of_environment();
  return use;
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

void set_wgmma(Wgmma use) {
  current_wgmma() = use;
}

Wgmma wgmma() {
  return current_wgmma();
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

bool is_nested(const at::Tensor& x) {
  int64_t stride = 1, size = x.size(3);  // of the dimension inside
  for (int64_t dim : {2, 1, 0}) {
    const int64_t whole = stride * size;
    // One element is never stepped over: its stride may be anything.
    const int64_t own = x.size(dim) == 1 ? whole : x.stride(dim);
    if (own < whole || own % stride != 0) return false;
    stride = own;
    size = x.size(dim);
  }
  return x.stride(3) == 1;
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
