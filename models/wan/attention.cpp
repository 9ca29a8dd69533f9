#include "models/wan/attention.h"

#include <ATen/ATen.h>

#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/int8_attention.h"

namespace wan {
namespace {

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, -1});
}

double scale_of(const Tensor& q) {
  return 1 / std::sqrt(double(q.size(-1)));
}

/// Self-attention, most of a forward's operations: [B, L, heads, head_dim] -> the same.
Tensor attend_video(const Tensor& q, const Tensor& k, const Tensor& v, Precision precision, kernels::SkipSoftmax* skip,
                    const kernels::Context& context) {
  if (is_int8(precision) && q.size(-1) == kernels::kInt8HeadWidth)
    return kernels::attention_int8(q, k, v, scale_of(q),
                                   precision == Precision::Fast ? kernels::Values::Float8 : kernels::Values::Plain,
                                   context, skip);
  if (skip) return kernels::attention_skipping(q, k, v, scale_of(q), *skip, context);
  return kernels::attention(q, k, v, scale_of(q), {}, context);
}

}  // namespace

SelfAttention::SelfAttention(const Scope& at, const WanConfig& config, at::ScalarType compute)
    : heads(config.num_heads),
      precision(at.precision()),
      qkv(at, {"q", "k", "v"}, config.dim, config.dim, compute, Bias::Yes, Role::Block),
      o(at / "o", config.dim, config.dim, compute, Bias::Yes, Role::Block),
      norm_q(at / "norm_q", config.dim, config.eps),
      norm_k(at / "norm_k", config.dim, config.eps) {}

Tensor SelfAttention::operator()(Operand x, const Rope& rope, kernels::SkipSoftmax* skip, const SeeHeads& see) const {
  std::vector<Tensor> products = qkv(x);
  x = {};
  // One op: the norm runs over all heads at once, so before the split; then the rotation.
  auto [query, key] = kernels::qk_norm_rope(products[0], products[1], norm_q.weight.tensor(), norm_k.weight.tensor(),
                                            rope, heads, norm_q.eps, norm_q.weight.context());
  Tensor value = split_heads(products[2], heads);
  products.clear();
  if (see) see(query, key);
  const Tensor y = attend_video(query, key, value, precision, skip, o.weight.context()).flatten(-2);
  query = key = value = Tensor();  // the largest of a block: they make room for the output
  return o(y);
}

CrossAttention::CrossAttention(const Scope& at, const WanConfig& config, at::ScalarType compute, Role query)
    : heads(config.num_heads),
      q(at / "q", config.dim, config.dim, compute, Bias::Yes, query),
      k(at / "k", config.dim, config.dim, compute, Bias::Yes, Role::Block),
      v(at / "v", config.dim, config.dim, compute, Bias::Yes, Role::Block),
      o(at / "o", config.dim, config.dim, compute, Bias::Yes, Role::Block),
      norm_q(at / "norm_q", config.dim, config.eps),
      norm_k(at / "norm_k", config.dim, config.eps) {}

KeyValue CrossAttention::key_value(const Tensor& context) const {
  return {split_heads(norm_k(k(context)), heads), split_heads(v(context), heads)};
}

Tensor CrossAttention::operator()(const Operand& x, const KeyValue& context) const {
  const Tensor query = split_heads(norm_q(q(x)), heads);
  return o(kernels::attention(query, context.key, context.value, scale_of(query), {}, o.weight.context()).flatten(-2));
}

}  // namespace wan
