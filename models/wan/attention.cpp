#include "models/wan/attention.h"

#include <ATen/ATen.h>

#include <cmath>

#include "kernels/attention.h"

namespace wan {
namespace {

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, -1});
}

/// [B, L, heads, head_dim] -> [B, L, dim]
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v) {
  return kernels::attention(q, k, v, 1 / std::sqrt(double(q.size(-1)))).flatten(-2);
}

}  // namespace

SelfAttention::SelfAttention(const Scope& at, const WanConfig& config, at::ScalarType compute)
    : heads(config.num_heads),
      qkv(at, {"q", "k", "v"}, config.dim, config.dim, compute),
      o(at / "o", config.dim, config.dim, compute),
      norm_q(at / "norm_q", config.dim, config.eps),
      norm_k(at / "norm_k", config.dim, config.eps) {}

Tensor SelfAttention::operator()(Tensor x, const Rope& rope) const {
  std::vector<Tensor> products = qkv(x);
  x.reset();
  // One op: the norm runs over all heads at once, so before the split; then the rotation.
  auto [query, key] =
      kernels::qk_norm_rope(products[0], products[1], norm_q.weight, norm_k.weight, rope, heads, norm_q.eps);
  Tensor value = split_heads(products[2], heads);
  products.clear();
  return o(attend(query, key, value));
}

CrossAttention::CrossAttention(const Scope& at, const WanConfig& config, at::ScalarType compute)
    : heads(config.num_heads),
      q(at / "q", config.dim, config.dim, compute),
      k(at / "k", config.dim, config.dim, compute),
      v(at / "v", config.dim, config.dim, compute),
      o(at / "o", config.dim, config.dim, compute),
      norm_q(at / "norm_q", config.dim, config.eps),
      norm_k(at / "norm_k", config.dim, config.eps) {}

KeyValue CrossAttention::key_value(const Tensor& context) const {
  return {split_heads(norm_k(k(context)), heads), split_heads(v(context), heads)};
}

Tensor CrossAttention::operator()(const Tensor& x, const KeyValue& context) const {
  return o(attend(split_heads(norm_q(q(x)), heads), context.key, context.value));
}

}  // namespace wan
