#include "tools/bench/drawn.h"

#include <ATen/ATen.h>

#include <cmath>

#include "models/weights/scope.h"

namespace wan::bench {
namespace {

using Shapes = std::map<std::string, StoredTensor>;

void add(Shapes& shapes, const std::string& name, std::vector<int64_t> shape) {
  std::vector<int64_t> strides = row_major_strides(shape);
  shapes.emplace(name, StoredTensor{at::kFloat, std::move(shape), std::move(strides), nullptr, 0});
}

}  // namespace

Draw draw_on(at::Device device, at::ScalarType compute) {
  return [device, compute](at::IntArrayRef shape, Role role) {
    const at::ScalarType dtype = role == Role::Float32 ? (compute == at::kDouble ? at::kDouble : at::kFloat) : compute;
    // In float32 whatever the dtype: the generator gives other numbers for other dtypes.
    at::Tensor weight = at::randn(shape, at::TensorOptions(device).dtype(at::kFloat));
    if (shape.size() == 1)
      weight.mul_(0.02).add_(role == Role::Float32 ? 1 : 0);
    else
      weight.div_(std::sqrt(double(std::max<int64_t>(weight.numel() / shape[0], 1))));
    return weight.to(dtype);
  };
}

Checkpoint transformer_shapes(const WanConfig& config, int64_t text_dim) {
  Shapes shapes;
  add(shapes, "text_embedding.0.weight", {config.dim, text_dim});
  return Checkpoint::names_only(std::move(shapes), "drawn transformer");
}

Checkpoint umt5_shapes(const Umt5Shapes& sizes) {
  Shapes shapes;
  add(shapes, "token_embedding.weight", {sizes.vocabulary, sizes.dim});
  add(shapes, "blocks.0.attn.q.weight", {sizes.inner, sizes.dim});
  add(shapes, "blocks.0.pos_embedding.embedding.weight", {32, sizes.heads});
  add(shapes, "blocks.0.ffn.fc1.weight", {sizes.hidden, sizes.dim});
  for (int64_t i = 0; i < sizes.layers; ++i) add(shapes, "blocks." + std::to_string(i) + ".norm1.weight", {sizes.dim});
  return Checkpoint::names_only(std::move(shapes), "drawn text encoder");
}

Wav2Vec2Config wav2vec2_large() {
  return {.hidden_size = 1024,
          .num_hidden_layers = 24,
          .num_attention_heads = 16,
          .intermediate_size = 4096,
          .conv_dim = std::vector<int64_t>(7, 512),
          .conv_kernel = {10, 3, 3, 3, 3, 2, 2},
          .conv_stride = {5, 2, 2, 2, 2, 2, 2},
          .num_conv_pos_embeddings = 128,
          .num_conv_pos_embedding_groups = 16,
          .layer_norm_eps = 1e-5};
}

}  // namespace wan::bench
