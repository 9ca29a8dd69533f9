#include "models/safety/encoder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/op/pieces.h"

namespace wan::safety {
namespace {

Scope under(const Scope& at, std::string_view name, int64_t index) {
  return at / name / index;
}

std::vector<int64_t> joined(std::vector<int64_t> shape, std::initializer_list<int64_t> more) {
  shape.insert(shape.end(), more);
  return shape;
}

/// `<name>` of shape `shape`, kept as float32 rows [.., last] without leading ones: converting at each use would be a copy
/// each time.
Weight rows_of(const Scope& at, std::string_view name, const std::vector<int64_t>& shape) {
  const int64_t width = shape.back();
  return at.take(name, shape, Role::Float32, {.prepare = [width](const std::vector<Tensor>& parts) {
                   return parts[0].to(at::kFloat).reshape({-1, width});
                 }});
}

/// The kernel [hidden, 3, patch, patch] as the rows of a product: its step is its size, so that no two patches overlap.
Weight patch_rows(const Scope& at, const VisionConfig& c) {
  return at.take("weight", {c.hidden_size, 3, c.patch_size, c.patch_size}, Role::Float32,
                 {.prepare = [](const std::vector<Tensor>& parts) { return parts[0].to(at::kFloat).flatten(1); }});
}

Linear float_linear(const Scope& at, int64_t in, int64_t out) {
  return Linear(at, in, out, at::kFloat, Bias::Yes, Role::Float32);
}

void activate_(Tensor& x, Gelu gelu) {
  kernels::elementwise_(x, [gelu](Tensor& piece) {
    if (gelu == Gelu::Erf)
      at::gelu_(piece);
    else
      piece.mul_(at::sigmoid(piece * 1.702));
  });
}

}  // namespace

EncoderLayer::EncoderLayer(const Scope& at, const VisionConfig& c, const Words& words)
    : heads(c.num_attention_heads),
      width(c.hidden_size / c.num_attention_heads),
      gelu(c.hidden_act),
      norm_before(at / words.norm_before, c.hidden_size, c.layer_norm_eps),
      norm_after(at / words.norm_after, c.hidden_size, c.layer_norm_eps),
      qkv(at, {words.query, words.key, words.value}, c.hidden_size, c.hidden_size, at::kFloat, Bias::Yes,
          Role::Float32),
      out(float_linear(at / words.out, c.hidden_size, c.hidden_size)),
      first(float_linear(at / words.first, c.hidden_size, c.intermediate_size)),
      second(float_linear(at / words.second, c.intermediate_size, c.hidden_size)) {}

Tensor EncoderLayer::operator()(const Tensor& h) const {
  const auto split = [&](const Tensor& x) { return x.unflatten(2, {heads, width}); };
  const std::vector<Tensor> projected = qkv(norm_before(h, at::kFloat));
  const Tensor attended = kernels::attention(split(projected[0]), split(projected[1]), split(projected[2]),
                                             1 / std::sqrt(double(width)), {}, out.weight.context());
  Tensor sum = h + out(attended.reshape(h.sizes()));
  Tensor inner = first(norm_after(sum, at::kFloat));
  activate_(inner, gelu);  // in place: it is four times as wide as h
  return sum.add_(second(inner));
}

Encoder::Encoder(const Scope& root, const VisionConfig& c, const Words& words)
    : config_(c),
      class_token_(rows_of(root, words.class_token, joined(words.before_class, {c.hidden_size}))),
      position_(rows_of(root, words.position, joined(words.before_position, {c.tokens(), c.hidden_size}))),
      patch_(patch_rows(root / words.patch, c)) {
  if (words.patch_bias == Bias::Yes) patch_bias_ = rows_of(root / words.patch, "bias", {c.hidden_size});
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(under(root, words.layers, i), c, words);
}

Tensor Encoder::embeddings(const Tensor& pixels) const {
  const int64_t side = config_.side(), patch = config_.patch_size, size = config_.image_size;
  TORCH_CHECK(pixels.dim() == 4 && pixels.size(1) == 3 && pixels.size(2) == size && pixels.size(3) == size,
              "[safety checker] pixels must be [n, 3, ", size, ", ", size, "], got ", pixels.sizes());
  const int64_t n = pixels.size(0);
  const Tensor seen = pixels.narrow(2, 0, side * patch).narrow(3, 0, side * patch);
  const Tensor patches = seen.reshape({n, 3, side, patch, side, patch})
                             .permute({0, 2, 4, 1, 3, 5})
                             .reshape({n, side * side, 3 * patch * patch});
  const Tensor bias = patch_bias_.defined() ? patch_bias_.tensor()[0] : Tensor();
  const Tensor tokens = kernels::linear(patches, patch_.tensor(), bias, kernels::Activation::None, patch_.context());
  return at::cat({class_token_.tensor().expand({n, 1, config_.hidden_size}), tokens}, 1).add_(position_.tensor());
}

Tensor Encoder::layers(Tensor h, const Visitor& visit) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (visit) visit(int64_t(i), h);
    h = layers_[i](h);
  }
  if (visit) visit(int64_t(layers_.size()), h);
  return h;
}

}  // namespace wan::safety
