#include "models/wan/block.h"

#include <ATen/ATen.h>

namespace wan {

AttentionBlock::AttentionBlock(const Scope& at, const WanConfig& config, at::ScalarType compute, Role text_query)
    : compute(compute),
      eps(config.eps),
      modulation(at.take("modulation", {1, 6, config.dim}, Role::Island)),
      self_attn(at / "self_attn", config, compute),
      norm3(at / "norm3", config.dim, config.eps),
      cross_attn(at / "cross_attn", config, compute, text_query),
      ffn(at / "ffn", config.dim, config.ffn_dim, config.dim, Activation::GeluTanh, compute, Role::Block) {}

Modulation AttentionBlock::modulate(const Tensor& e0) const {
  std::vector<Tensor> rows = (modulation[0].unsqueeze(1) + e0).unbind(0);
  return {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
}

Tensor AttentionBlock::attend_video(Tensor& x, const Modulation& rows, const Rope& rope, const Segments& ends) const {
  Tensor y = self_attn(kernels::modulated_layer_norm(x, rows.shift_attn, rows.scale_attn, ends, eps, compute), rope);
  kernels::NextNorm next{.weight = norm3.weight, .bias = norm3.bias, .shift = {}, .scale = {}, .eps = norm3.eps};
  return kernels::gated_residual_norm_(x, y, rows.gate_attn, next, ends, compute);
}

void AttentionBlock::attend_text(Tensor& x, Tensor normed, const Modulation& rows, const KeyValue& text,
                                 const Segments& ends) const {
  Tensor y = cross_attn(normed, text);
  kernels::NextNorm next{.weight = {}, .bias = {}, .shift = rows.shift_ffn, .scale = rows.scale_ffn, .eps = eps};
  normed.reset();
  normed = kernels::gated_residual_norm_(x, y, {}, next, ends, compute);
  y.reset();
  ffn.add_to(x, normed, rows.gate_ffn, ends);
}

}  // namespace wan
