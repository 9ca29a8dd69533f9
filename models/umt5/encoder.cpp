#include "models/umt5/encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/op/range.h"
#include "models/files/error.h"

namespace wan {
namespace {

constexpr double kEps = 1e-6;
constexpr int64_t kBuckets = 32;

int64_t size_of(const Scope& at, std::string_view leaf, size_t axis) {
  std::vector<int64_t> shape = at.shape(leaf);
  return axis < shape.size() ? shape[axis] : 0;
}

}  // namespace

int64_t umt5_bucket(int64_t distance) {
  // First distances of the buckets 8 to 15: 8 * 16^(k/8), as float32 rounds them in the reference.
  constexpr int64_t kStarts[] = {8, 12, 16, 23, 32, 46, 64, 91};
  int64_t length = std::abs(distance);
  int64_t bucket =
      length < 8 ? length : 7 + (std::upper_bound(std::begin(kStarts), std::end(kStarts), length) - kStarts);
  return bucket + (distance > 0 ? kBuckets / 2 : 0);
}

Umt5Config Umt5Config::of(const Scope& root) {
  Scope first = root / "blocks" / 0;
  Umt5Config config{
      .vocabulary = size_of(root / "token_embedding", "weight", 0),
      .dim = size_of(root / "token_embedding", "weight", 1),
      .inner = size_of(first / "attn" / "q", "weight", 0),
      .heads = size_of(first / "pos_embedding" / "embedding", "weight", 1),
      .hidden = size_of(first / "ffn" / "fc1", "weight", 0),
      .layers = 0,
  };
  while ((root / "blocks" / config.layers / "norm1").has("weight")) ++config.layers;
  // At least one is asked for, so that the names of an empty file are told as missing.
  config.layers = std::max<int64_t>(config.layers, 1);
  if (config.heads > 0 && config.inner % config.heads != 0)
    throw ModelError(first.path() + ".attn.q.weight", "must have a multiple of " + std::to_string(config.heads) +
                                                          " rows, the heads of pos_embedding, got " +
                                                          std::to_string(config.inner));
  return config;
}

Umt5Attention::Umt5Attention(const Scope& at, const Umt5Config& config, at::ScalarType compute)
    : heads(config.heads),
      qkv(at, {"q", "k", "v"}, config.dim, config.inner, compute, Bias::No),
      o(at / "o", config.inner, config.dim, compute, Bias::No) {}

Tensor Umt5Attention::operator()(const Tensor& x, const Tensor& bias) const {
  std::vector<Tensor> products = qkv(x);
  for (Tensor& product : products) product = product.unflatten(-1, {heads, -1});
  return o(kernels::attention(products[0], products[1], products[2], 1.0, bias, o.weight.context()).flatten(-2));
}

Umt5FeedForward::Umt5FeedForward(const Scope& at, const Umt5Config& config, at::ScalarType compute)
    : gate(at / "gate" / 0, config.dim, config.hidden, compute, Bias::No),
      fc1(at / "fc1", config.dim, config.hidden, compute, Bias::No),
      fc2(at / "fc2", config.hidden, config.dim, compute, Bias::No) {}

Tensor Umt5FeedForward::operator()(const Tensor& x) const {
  return fc2(fc1(x) * gate(x, Activation::GeluTanh));
}

Umt5Block::Umt5Block(const Scope& at, const Umt5Config& config, at::ScalarType compute)
    : compute(compute),
      norm1(at / "norm1", config.dim, kEps),
      attn(at / "attn", config, compute),
      norm2(at / "norm2", config.dim, kEps),
      ffn(at / "ffn", config, compute),
      pos_embedding((at / "pos_embedding" / "embedding").take("weight", {kBuckets, config.heads}, Role::Float32)) {}

Tensor Umt5Block::bias(int64_t tokens, int64_t length) const {
  std::vector<int64_t> buckets;
  for (int64_t distance = 1 - length; distance < length; ++distance) buckets.push_back(umt5_bucket(distance));
  Tensor index = at::tensor(buckets, at::kLong).to(pos_embedding.device());
  Tensor by_distance = pos_embedding.tensor().to(float32_dtype(compute)).index_select(0, index).t().contiguous();
  // Window w holds the distances of query length - 1 - w, so the windows are the rows from last to first.
  Tensor bias = by_distance.unfold(1, length, 1).flip(1);
  if (tokens < length) bias.narrow(2, tokens, length - tokens).fill_(std::numeric_limits<float>::lowest());
  return bias;
}

Tensor Umt5Block::operator()(const Tensor& x, const Tensor& bias) const {
  Tensor y = x + attn(norm1(x), bias);
  return y + ffn(norm2(y));
}

Umt5Encoder::Umt5Encoder(const Scope& root, at::ScalarType compute)
    : config(Umt5Config::of(root)),
      compute(compute),
      token_embedding(root / "token_embedding", config.vocabulary, config.dim),
      norm(root / "norm", config.dim, kEps) {
  blocks.reserve(size_t(config.layers));
  for (int64_t i = 0; i < config.layers; ++i) blocks.emplace_back(root / "blocks" / i, config, compute);
}

Tensor Umt5Encoder::embed(at::IntArrayRef ids) const {
  return token_embedding(ids, device(), float32_dtype(compute)).unsqueeze(0);
}

Tensor Umt5Encoder::padded(at::IntArrayRef ids, int64_t length) const {
  std::vector<int64_t> all = ids.vec();
  all.resize(size_t(length), 0);
  Tensor x = embed(all);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const kernels::Range range(kernels::RangeKind::Block, "text block", int64_t(i));
    const StreamedBlocks::Use there = use_block(streamed, int64_t(i));
    x = blocks[i](x, blocks[i].bias(int64_t(ids.size()), length));
  }
  return norm(x).squeeze(0);
}

}  // namespace wan
