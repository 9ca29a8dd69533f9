// The Wan 2.2 diffusion transformer of text, image and video to video. Source: WanModel, wan/modules/model.py.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/wan/block.h"
#include "models/wan/embedding.h"
#include "models/weights/streamed_blocks.h"

namespace wan {

/// A prompt as one transformer sees it: made by WanModel::context, filled layer by layer when a block first needs it.
struct Context {
  Tensor text;  // [1, text_len, dim] in the compute dtype, after the text MLP
  std::vector<std::optional<KeyValue>> layers;
};

/// One guidance branch on its way through the blocks.
struct Branch {
  Tensor x;          // the residual stream [1, L, dim] float32; blocks write into it
  Context* context;  // of the branch's prompt
};

/// SeeHeads of each block.
using SeeLayers = std::function<void(int64_t layer, const Tensor& q, const Tensor& k)>;

/// Sees a branch behind the last block, x [1, L, dim] float32 as the head gets it, which is not to be written to.
using SeeBranch = std::function<void(size_t branch, const Tensor& x)>;

/// What the blocks of one step share.
struct Pass {
  Rope rope;
  Segments ends;
  TimeRows time;
  kernels::SkipSoftmax* skip = nullptr;  // of self-attention; null: it is dense
  const SeeLayers* see = nullptr;        // sees its heads; null: nobody does
};

/// Block number `layer` of all branches, so that its weights are needed once. Branches whose x is one and the same
/// tensor, as before the first block, share the self-attention and part afterwards; the result is the same.
/// `left`, of one branch alone: takes what this block leaves (LeftResidual) when it has added what the one before left.
void run_block(const AttentionBlock& block, int64_t layer, std::span<Branch> branches, const Pass& pass,
               LeftResidual* left = nullptr);

/// Modulated norm and the linear to patches, outside of autocast.
struct WanHead {
  WanHead(const Scope& at, const WanConfig& config, at::ScalarType compute);
  /// x [1, L, dim] float32, e [S, dim] -> [1, L, out_dim * 4] float32, channel fastest.
  Tensor operator()(const Tensor& x, const Tensor& e, const Segments& ends) const;

  double eps;
  Weight modulation;  // [1, 2, dim]
  Linear head;
};

/// The text MLP on a prompt padded with zeros to text_len rows, all of which are attended to. `states` [n, text_dim].
/// Throws c10::Error for more than text_len rows.
Tensor embed_text(const Mlp& text_embedding, const Tensor& states, int64_t text_len);
/// The width of the text states, which no config states; 0 where the text MLP is absent.
int64_t text_dim(const Scope& root);

/// Of cross-attention's queries in block `layer`: the first and the last block's keep 16 bits in every precision.
Role query_role(int64_t layer, int64_t layers);

struct WanModel {
  /// Takes every tensor of the transformer from `root`; Weights::finish then tells what was missing or left over.
  WanModel(const Scope& root, const WanConfig& config, at::ScalarType compute);

  /// Where the weights are; inputs must be there.
  at::Device device() const { return head.modulation.device(); }

  /// States of the text encoder [n, text_dim], n <= text_len -> the prompt's context.
  Context context(const Tensor& states) const;
  /// Rotations of a latent's grid [*, T, h, w]; the same for all steps and both experts.
  Rope rope(const Tensor& latent) const;
  /// `t` is 1000 sigma.
  Pass begin(const Rope& rope, double t) const;

  /// Latent [in_dim, T, h, w], h and w even -> tokens [1, L, dim] float32. Image to video's 20 channels come after the
  /// noise's.
  Tensor embed(const Tensor& latent) const;
  /// run_block of block i.
  void block(int64_t i, std::span<Branch> branches, const Pass& pass) const;
  /// x [1, L, dim] -> velocity [out_dim, T, h, w] float32 on the grid of `latent`.
  Tensor velocity(const Tensor& x, const Pass& pass, const Tensor& latent) const;

  /// embed, all blocks, head: a velocity for each context. `skip`, `see`: of all blocks' self-attention. `ends`: sees
  /// each branch before its head; null: nobody does.
  std::vector<Tensor> operator()(const Tensor& latent, const Rope& rope, double t, at::ArrayRef<Context*> contexts,
                                 kernels::SkipSoftmax* skip = nullptr, const SeeLayers* see = nullptr,
                                 const SeeBranch* ends = nullptr) const;
  /// The same. `leaves`: of one context, blocks leave their last residual to the next one's first norm, which is one
  /// pass over x less on a GPU. With two, what each of them leaves would take memory while the other passes.
  std::vector<Tensor> velocities(const Tensor& latent, const Rope& rope, double t, at::ArrayRef<Context*> contexts,
                                 bool leaves, kernels::SkipSoftmax* skip = nullptr, const SeeLayers* see = nullptr,
                                 const SeeBranch* ends = nullptr) const;

  WanConfig config;
  PatchEmbedding patch_embedding;
  Mlp text_embedding;
  TimeEmbedding time;
  std::vector<AttentionBlock> blocks;
  WanHead head;
  std::shared_ptr<StreamedBlocks> streamed = nullptr;  // where the blocks' weights lie, if they were only planned
};

}  // namespace wan
