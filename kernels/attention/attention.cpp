#include "kernels/attention/attention.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/attention/selector.h"
#include "kernels/op/check.h"
#include "kernels/op/policy.h"

namespace wan::kernels {
namespace {

/// bias as [1, 1 or H, 1 or Lq, Lk], which broadcasts over the logits without being written out.
Tensor broadcastable(const Tensor& bias) {
  return bias.dim() == 1 ? bias.view({1, 1, 1, -1}) : bias.unsqueeze(0);
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  check_shape("attention", "q", q, {kAny, kAny, kAny, kAny});
  check_shape("attention", "k", k, {q.size(0), kAny, q.size(2), q.size(3)});
  check_shape("attention", "v", v, k.sizes());
  if (bias.defined() && bias.dim() == 1)
    check_shape("attention", "bias", bias, {k.size(1)});
  else if (bias.defined())
    check_shape("attention", "bias", bias, {q.size(2), q.size(1), k.size(1)});
  if constexpr (kFusedBuilt) {
    if (use_libraries(q) && q.numel() > 0 && k.size(1) > 0) return attention_selector()(q, k, v, scale, bias);
  }
  if (!q.is_cpu() || q.numel() == 0 || k.size(1) == 0) return reference::attention(q, k, v, scale, bias);
  // ATen's blockwise CPU attention: no [Lq, Lk] matrix, strided heads read in place.
  std::optional<Tensor> mask;
  if (bias.defined()) mask = broadcastable(bias).to(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask, 0.0, false,
                                          scale)
      .transpose(1, 2);
}

namespace reference {
namespace {

/// Logits held at one time: 64 Mi values, 256 MiB in float32.
constexpr int64_t kLogits = int64_t(1) << 26;

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
  const at::ScalarType wide = accumulation(q.scalar_type());
  const int64_t queries = q.size(1), per_query = std::max<int64_t>(q.size(0) * q.size(2) * k.size(1), 1);
  const int64_t block = std::clamp<int64_t>(kLogits / per_query, 1, std::max<int64_t>(queries, 1));
  Tensor keys = k.permute({0, 2, 3, 1}).to(wide), values = v.transpose(1, 2).to(wide);
  std::vector<Tensor> parts;
  for (int64_t start = 0; start < queries; start += block) {
    int64_t length = std::min(block, queries - start);
    Tensor logits = at::matmul(q.narrow(1, start, length).transpose(1, 2).to(wide) * scale, keys);
    if (bias.defined()) logits = logits + (bias.dim() == 1 ? bias : bias.narrow(1, start, length));
    parts.push_back(at::matmul(logits.softmax(-1), values).transpose(1, 2).to(q.scalar_type()));
  }
  return parts.empty() ? at::zeros_like(q) : at::cat(parts, 1);
}

}  // namespace reference
}  // namespace wan::kernels
