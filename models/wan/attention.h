// The two attentions of a transformer block. Source: WanSelfAttention and WanT2VCrossAttention, wan/modules/model.py.
#pragma once

#include <functional>

#include "kernels/attention/skip_softmax.h"
#include "kernels/rope/rope.h"
#include "models/layers.h"
#include "models/wan/config.h"

namespace wan {

using kernels::Rope;

/// Sees queries and keys of a self-attention [B, L, heads, head_dim], behind norm and rotation, on its device. Empty:
/// nobody looks.
using SeeHeads = std::function<void(const Tensor& q, const Tensor& k)>;

/// Attention among the video tokens.
struct SelfAttention {
  SelfAttention(const Scope& at, const WanConfig& config, at::ScalarType compute);
  /// x [B, L, dim] -> [B, L, dim] in `compute`. By value: moved in, it is freed once q, k and v are made from it.
  /// Where `skip` is given, attention leaves out blocks of keys by its rule. `see` is called once, before it.
  Tensor operator()(Operand x, const Rope& rope, kernels::SkipSoftmax* skip = nullptr, const SeeHeads& see = {}) const;

  int64_t heads;
  Precision precision;
  MergedLinear qkv;
  Linear o;
  RmsNorm norm_q, norm_k;
};

/// Keys (normed) and values of a text or an audio, [B, Lk, heads, head_dim] in `compute`.
struct KeyValue {
  Tensor key, value;
};

/// Attention from video tokens to text (or audio): no rotation, no mask, all rows of the padded text count.
struct CrossAttention {
  CrossAttention(const Scope& at, const WanConfig& config, at::ScalarType compute, Role query = Role::Block);
  /// context [B, Lk, dim] -> its keys and values, which stay the same for all steps of a prompt.
  KeyValue key_value(const Tensor& context) const;
  /// x [B, L, dim] -> [B, L, dim] in `compute`.
  Tensor operator()(const Operand& x, const KeyValue& context) const;

  int64_t heads;
  Linear q, k, v, o;
  RmsNorm norm_q, norm_k;
};

}  // namespace wan
