#include "models/wan/block.h"

#include <ATen/ATen.h>

#include "kernels/norm/norm_int8.h"

namespace wan {
namespace {

// A norm for the linear that reads it: codes where its weight takes them (`coded`), else rows in `compute`.

Operand modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends, double eps,
                       bool coded, at::ScalarType compute, const kernels::Context& context) {
  if (coded) return kernels::modulated_layer_norm_int8(x, shift, scale, ends, eps, context);
  return kernels::modulated_layer_norm(x, shift, scale, ends, eps, compute, context);
}

/// x += gate * y first.
Operand residual_norm(Tensor& x, const Tensor& y, const Tensor& gate, const kernels::NextNorm& next,
                      const Segments& ends, bool coded, at::ScalarType compute, const kernels::Context& context) {
  if (coded) return kernels::gated_residual_norm_int8_(x, y, gate, next, ends, context);
  return kernels::gated_residual_norm_(x, y, gate, next, ends, compute, context);
}

}  // namespace

AttentionBlock::AttentionBlock(const Scope& at, const WanConfig& config, at::ScalarType compute, Role text_query)
    : compute(compute),
      eps(config.eps),
      modulation(at.take("modulation", {1, 6, config.dim}, Role::Float32)),
      self_attn(at / "self_attn", config, compute),
      norm3(at / "norm3", config.dim, config.eps),
      cross_attn(at / "cross_attn", config, compute, text_query),
      ffn(at / "ffn", config.dim, config.ffn_dim, config.dim, Activation::GeluTanh, compute, Role::Block) {}

Modulation AttentionBlock::modulate(const Tensor& e0) const {
  std::vector<Tensor> rows = (modulation.tensor()[0].unsqueeze(1) + e0).unbind(0);
  return {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
}

Operand AttentionBlock::attend_video(Tensor& x, const Modulation& rows, const Rope& rope, const Segments& ends,
                                     LeftResidual before, kernels::SkipSoftmax* skip, const SeeHeads& see) const {
  const bool coded = self_attn.qkv.takes_codes();
  const kernels::NextNorm first{
      .weight = {}, .bias = {}, .shift = rows.shift_attn, .scale = rows.scale_attn, .eps = eps};
  Operand input = before.is_there()
                      ? residual_norm(x, before.y, before.gate, first, ends, coded, compute, modulation.context())
                      : modulated_norm(x, first.shift, first.scale, ends, eps, coded, compute, modulation.context());
  before = {};
  Tensor y = self_attn(std::move(input), rope, skip, see);
  kernels::NextNorm next{
      .weight = norm3.weight.tensor(), .bias = norm3.bias.tensor(), .shift = {}, .scale = {}, .eps = norm3.eps};
  return residual_norm(x, y, rows.gate_attn, next, ends, cross_attn.q.weight.takes_codes(), compute,
                       modulation.context());
}

void AttentionBlock::attend_text(Tensor& x, Operand normed, const Modulation& rows, const KeyValue& text,
                                 const Segments& ends, LeftResidual* left) const {
  Tensor y = cross_attn(normed, text);
  kernels::NextNorm next{.weight = {}, .bias = {}, .shift = rows.shift_ffn, .scale = rows.scale_ffn, .eps = eps};
  normed = {};
  normed = residual_norm(x, y, {}, next, ends, ffn.first.weight.takes_codes(), compute, modulation.context());
  y.reset();
  if (left && adds_apart(ffn.second.weight))
    *left = {ffn(normed), rows.gate_ffn};
  else
    ffn.add_to(x, normed, rows.gate_ffn, ends);
}

}  // namespace wan
