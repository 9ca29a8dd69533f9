// The text encoder: UMT5, encoder half. Source: T5Encoder, wan/modules/t5.py.
#pragma once

#include "models/layers.h"
#include "models/weights/streamed_blocks.h"

namespace wan {

/// Bucket 0..31 of the distance from a query to a key (key minus query): exact up to 7, then logarithmic, later keys
/// at 16.
int64_t umt5_bucket(int64_t distance);

/// Sizes, which no file states: read off the shapes of the tensors.
struct Umt5Config {
  int64_t vocabulary, dim, inner, heads, hidden, layers;
  /// Absent tensors give 0, for Weights::finish to tell. Throws ModelError where the heads do not divide the width.
  static Umt5Config of(const Scope& root);
};

/// Attention with this layer's own table of relative positions, without 1/sqrt(d).
struct Umt5Attention {
  Umt5Attention(const Scope& at, const Umt5Config& config, at::ScalarType compute);
  /// x [1, L, dim], bias [heads, L, L] -> [1, L, dim] in `compute`.
  Tensor operator()(const Tensor& x, const Tensor& bias) const;

  int64_t heads;
  MergedLinear qkv;
  Linear o;
};

/// fc2(fc1(x) * gelu(gate(x))).
struct Umt5FeedForward {
  Umt5FeedForward(const Scope& at, const Umt5Config& config, at::ScalarType compute);
  Tensor operator()(const Tensor& x) const;

  Linear gate, fc1, fc2;
};

struct Umt5Block {
  Umt5Block(const Scope& at, const Umt5Config& config, at::ScalarType compute);
  /// Logits that depend on positions alone: [heads, length, length] float32; keys from `tokens` on are padding and
  /// closed.
  Tensor bias(int64_t tokens, int64_t length) const;
  /// x [1, L, dim], the residual stream -> the next one.
  Tensor operator()(const Tensor& x, const Tensor& bias) const;

  at::ScalarType compute;
  RmsNorm norm1;
  Umt5Attention attn;
  RmsNorm norm2;
  Umt5FeedForward ffn;
  Weight pos_embedding;  // [32, heads]
};

struct Umt5Encoder {
  /// Takes every tensor of the encoder from `root`; Weights::finish then tells what was missing or left over.
  Umt5Encoder(const Scope& root, at::ScalarType compute);

  at::Device device() const { return norm.weight.device(); }
  /// Rows of the table [1, ids, dim] in float32_dtype(compute).
  Tensor embed(at::IntArrayRef ids) const;
  /// ids of one prompt, the final </s> included -> its states [ids, dim] float32. Padding is masked in the reference,
  /// so the states of the true tokens do not depend on it and only they are computed. Throws c10::Error for ids outside
  /// the table.
  Tensor operator()(at::IntArrayRef ids) const { return padded(ids, int64_t(ids.size())); }
  /// The same with padding (id 0) up to `length`, whose rows are returned too: [length, dim].
  Tensor padded(at::IntArrayRef ids, int64_t length) const;

  Umt5Config config;
  at::ScalarType compute;
  Embedding token_embedding;
  std::vector<Umt5Block> blocks;
  RmsNorm norm;
  std::shared_ptr<StreamedBlocks> streamed = nullptr;  // where the blocks' weights lie, if they were only planned
};

}  // namespace wan
