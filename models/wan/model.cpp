#include "models/wan/model.h"

#include <ATen/ATen.h>

#include <utility>

#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/range.h"

namespace wan {
WanHead::WanHead(const Scope& at, const WanConfig& config, at::ScalarType compute)
    : eps(config.eps),
      modulation(at.take("modulation", {1, 2, config.dim}, Role::Float32)),
      head(at / "head", config.dim, config.out_dim * config.patch_values(), float32_dtype(compute), Bias::Yes,
           Role::Float32) {}

Tensor WanHead::operator()(const Tensor& x, const Tensor& e, const Segments& ends) const {
  // The same row e is added to both rows: shift, then scale.
  std::vector<Tensor> rows = (modulation.tensor()[0].unsqueeze(1) + e).unbind(0);
  return head(kernels::modulated_layer_norm(x, rows[0], rows[1], ends, eps, head.compute, modulation.context()));
}

int64_t text_dim(const Scope& root) {
  std::vector<int64_t> shape = (root / "text_embedding" / 0).shape("weight");
  return shape.size() == 2 ? shape[1] : 0;
}

Tensor embed_text(const Mlp& text_embedding, const Tensor& states, int64_t text_len) {
  kernels::check_shape("embed_text", "states", states, {kernels::kAny, text_embedding.first.weight.size(1)});
  TORCH_CHECK(states.size(0) <= text_len, "[embed_text] a prompt must have at most ", text_len, " rows, got ",
              states.size(0));
  return text_embedding(at::constant_pad_nd(states, {0, 0, 0, text_len - states.size(0)})).unsqueeze(0);
}

void run_block(const AttentionBlock& block, int64_t layer, std::span<Branch> branches, const Pass& pass,
               LeftResidual* left) {
  TORCH_CHECK(!left || branches.size() == 1, "[run_block] what a block leaves is one branch's, got ", branches.size());
  const kernels::Range range(kernels::RangeKind::Block, "block", layer);
  const Modulation rows = block.modulate(pass.time.e0);
  // The text sees x only after this block's self-attention, so branches that have not parted yet compute it together.
  bool together = true;
  for (const Branch& branch : branches) together = together && branch.x.is_same(branches[0].x);
  SeeHeads see;
  if (pass.see) see = [&](const Tensor& q, const Tensor& k) { (*pass.see)(layer, q, k); };
  Tensor shared;
  Operand normed;
  if (together) {
    shared = std::move(branches[0].x);
    for (Branch& branch : branches) branch.x.reset();
    normed = block.attend_video(shared, rows, pass.rope, pass.ends, left ? std::exchange(*left, {}) : LeftResidual(),
                                pass.skip, see);
  }
  for (size_t k = 0; k < branches.size(); ++k) {
    Branch& branch = branches[k];
    std::optional<KeyValue>& text = branch.context->layers.at(size_t(layer));
    if (!text) text = block.cross_attn.key_value(branch.context->text);
    if (together)
      branch.x = k + 1 < branches.size() ? shared.clone() : shared;
    else
      normed = block.attend_video(branch.x, rows, pass.rope, pass.ends, {}, pass.skip, see);
    // The last one that it is for takes it along: it is freed within.
    const bool shared_on = together && k + 1 < branches.size();
    block.attend_text(branch.x, shared_on ? normed : std::move(normed), rows, *text, pass.ends, left);
  }
}

Role query_role(int64_t layer, int64_t layers) {
  return layer == 0 || layer == layers - 1 ? Role::Matmul : Role::Block;
}

WanModel::WanModel(const Scope& root, const WanConfig& config, at::ScalarType compute)
    : config(config),
      patch_embedding(root / "patch_embedding", config.in_dim, config.dim, config.kPatch, compute),
      text_embedding(root / "text_embedding", text_dim(root), config.dim, config.dim, Activation::GeluTanh, compute),
      time(root, config, compute),
      head(root / "head", config, compute) {
  blocks.reserve(size_t(config.num_layers));
  for (int64_t i = 0; i < config.num_layers; ++i)
    blocks.emplace_back(root / "blocks" / i, config, compute, query_role(i, config.num_layers));
}

Context WanModel::context(const Tensor& states) const {
  return {embed_text(text_embedding, states, config.text_len), std::vector<std::optional<KeyValue>>(blocks.size())};
}

Rope WanModel::rope(const Tensor& latent) const {
  const auto& [pt, py, px] = config.kPatch;
  Tensor positions = kernels::grid_positions(latent.size(1) / pt, latent.size(2) / py, latent.size(3) / px);
  return kernels::make_rope(positions, config.head_dim(), device(), head.head.compute);
}

Pass WanModel::begin(const Rope& rope, double t) const {
  return {rope, {rope.tokens()}, time(t)};
}

Tensor WanModel::embed(const Tensor& latent) const {
  kernels::check_shape("embed", "latent", latent, {config.in_dim, kernels::kAny, kernels::kAny, kernels::kAny});
  return patch_embedding(latent);
}

void WanModel::block(int64_t i, std::span<Branch> branches, const Pass& pass) const {
  const StreamedBlocks::Use there = use_block(streamed, i);
  run_block(blocks.at(size_t(i)), i, branches, pass);
}

Tensor WanModel::velocity(const Tensor& x, const Pass& pass, const Tensor& latent) const {
  return unpatchify(head(x, pass.time.e, pass.ends).squeeze(0), config.kPatch, latent.size(1), latent.size(2),
                    latent.size(3));
}

std::vector<Tensor> WanModel::operator()(const Tensor& latent, const Rope& rope, double t,
                                         at::ArrayRef<Context*> contexts, kernels::SkipSoftmax* skip,
                                         const SeeLayers* see, const SeeBranch* ends) const {
  return velocities(latent, rope, t, contexts, kernels::use_fused(rope.cos, head.modulation.context()), skip, see,
                    ends);
}

std::vector<Tensor> WanModel::velocities(const Tensor& latent, const Rope& rope, double t,
                                         at::ArrayRef<Context*> contexts, bool leaves, kernels::SkipSoftmax* skip,
                                         const SeeLayers* see, const SeeBranch* ends) const {
  Pass pass = begin(rope, t);
  pass.skip = skip;
  pass.see = see;
  std::vector<Branch> branches;
  Tensor x = embed(latent);
  for (Context* context : contexts) branches.push_back({x, context});
  x.reset();
  LeftResidual left;
  const bool alone = leaves && branches.size() == 1;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const StreamedBlocks::Use there = use_block(streamed, int64_t(i));
    run_block(blocks[i], int64_t(i), branches, pass, alone ? &left : nullptr);
  }
  if (left.is_there()) kernels::gated_residual_(branches[0].x, left.y, left.gate, pass.ends, head.modulation.context());
  left = {};
  std::vector<Tensor> found;
  for (size_t k = 0; k < branches.size(); ++k) {
    if (ends) (*ends)(k, branches[k].x);
    found.push_back(velocity(branches[k].x, pass, latent));
  }
  return found;
}

}  // namespace wan
