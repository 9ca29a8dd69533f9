// Finding lambda of Skip-Softmax for a wanted share of blocks that are left out, on queries and keys that were captured
// or are drawn. Any machine; nothing is timed.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <iosfwd>
#include <vector>

#include "kernels/attention/skip_softmax.h"

namespace wan::bench {

/// One attention: q and k [1, L, H, D], v the same or undefined.
struct CapturedHeads {
  at::Tensor q, k, v;
};

/// Tensors "q" and "k", and "v" where it is there, of a safetensors file, in floats of any width; or several of each,
/// "NAME.q" with "NAME.k" ("wan-infer ... --capture-qk" writes such). Throws std::invalid_argument where the file holds
/// something else, ModelError where it cannot be read.
std::vector<CapturedHeads> read_heads(const std::filesystem::path& file);
/// Heads that look most at their own run of 256 tokens: logits of unrelated tokens have this standard deviation, those
/// within a run lie 5.7 times as high.
CapturedHeads draw_heads(int64_t tokens, int64_t heads, double deviation, uint64_t seed);

/// What one wanted share comes to.
struct Calibrated {
  double wanted = 0;
  double lambda = 0;  // 0: even the largest lambda leaves out less
  double share = 0;   // that is left out with it; with lambda 0 the most there can be
  double error = -1;  // relative L2 against dense attention in the sampled queries; -1 without values
};

/// For each share, the smallest lambda that leaves out so much of the sampled blocks of all attentions: at most `groups`
/// groups of queries a head, spread from the first to the last.
std::vector<Calibrated> calibrate(const std::vector<CapturedHeads>& attentions, const kernels::SkipBlock& block,
                                  const std::vector<double>& shares, int64_t groups);

struct SkipSoftmaxOptions {
  std::vector<double> shares = {0.5, 0.75, 0.9};
  std::string file;  // empty: drawn
  int64_t tokens = 4096, heads = 4, groups = 16;
  double deviation = 1;
  uint64_t seed = 1;
  bool wgmma = false;  // blocks of the kernels with wgmma instead of mma.sync
};
/// One JSON line for each share. Throws as read_heads.
void skip_softmax(const SkipSoftmaxOptions& options, std::ostream& out);

}  // namespace wan::bench
