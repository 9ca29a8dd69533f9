// One transformer block. Source: WanAttentionBlock, wan/modules/model.py.
#pragma once

#include "kernels/norm/norm.h"
#include "models/wan/attention.h"

namespace wan {

using kernels::Segments;

/// The six modulation rows of a block, each [S, dim] float32: one row for each segment of tokens.
struct Modulation {
  Tensor shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn;
};

/// What a block may leave to the one behind it: x += gate * y, in the pass over x that its first norm makes anyway.
struct LeftResidual {
  Tensor y, gate;  // [B, L, dim] in the compute dtype; [S, dim] float32

  bool is_there() const { return y.defined(); }
};

/// x += gate * self_attn(norm1(x) modulated); x += cross_attn(norm3(x)), without a gate; x += gate * ffn(norm2(x)
/// modulated). In two halves, because the first one does not see the text: guidance branches that still share x share
/// its result.
struct AttentionBlock {
  AttentionBlock(const Scope& at, const WanConfig& config, at::ScalarType compute, Role text_query = Role::Block);

  /// e0 [6, S, dim] (of the time) plus the block's own rows.
  Modulation modulate(const Tensor& e0) const;
  /// Self-attention into x [B, L, dim] float32, in place. Returns norm3(x), what the second half starts from.
  /// `before`: what the block before has left. `skip`, `see`: as SelfAttention.
  Operand attend_video(Tensor& x, const Modulation& rows, const Rope& rope, const Segments& ends,
                       LeftResidual before = {}, kernels::SkipSoftmax* skip = nullptr, const SeeHeads& see = {}) const;
  /// Cross-attention and feed-forward into x, in place. `normed` is what attend_video returned for this x.
  /// `left`: takes the feed-forward's residual, where it is added apart from the product.
  void attend_text(Tensor& x, Operand normed, const Modulation& rows, const KeyValue& text, const Segments& ends,
                   LeftResidual* left = nullptr) const;

  at::ScalarType compute;
  double eps;         // of norm1 and norm2, which have no parameters
  Weight modulation;  // [1, 6, dim]
  SelfAttention self_attn;
  LayerNorm norm3;
  CrossAttention cross_attn;
  Mlp ffn;
};

}  // namespace wan
