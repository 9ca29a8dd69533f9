#include "tools/bench/skip_softmax.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <stdexcept>

#include "models/weights/checkpoint.h"

namespace wan::bench {
namespace {

using at::Tensor;
using kernels::SkipBlock;

constexpr double kLog2E = 1.4426950408889634;

/// The sampled groups of one head: their logits [rows, keys] in units of log2, group behind group.
class Sample {
 public:
  Sample(const CapturedHeads& heads, int64_t head, const SkipBlock& block, int64_t groups) {
    const int64_t all = (heads.q.size(1) + block.queries - 1) / block.queries, taken = std::min(all, groups);
    const double factor = kLog2E / std::sqrt(double(heads.q.size(3)));
    const auto of_head = [&](const Tensor& x) { return x.select(2, head).select(0, 0).to(at::kFloat); };
    const Tensor queries = of_head(heads.q), keys = of_head(heads.k).t();
    for (int64_t i = 0; i < taken; ++i) {
      const int64_t first = block.queries * (taken > 1 ? i * (all - 1) / (taken - 1) : 0);
      const int64_t count = std::min(block.queries, queries.size(0) - first);
      groups_.push_back(at::matmul(queries.narrow(0, first, count), keys).mul_(factor));
    }
    if (heads.v.defined()) values_ = of_head(heads.v);
  }

  void add_gaps(std::vector<float>& gaps, const SkipBlock& block) const {
    for (const Tensor& logits : groups_) {
      const Tensor found = kernels::reference::block_gaps(logits, block).contiguous();
      gaps.insert(gaps.end(), found.const_data_ptr<float>(), found.const_data_ptr<float>() + found.numel());
    }
  }

  /// What is left out, and the squares of what that changes and of the dense result.
  void add(kernels::SkippedBlocks& blocks, double& changed, double& size, double lambda, const SkipBlock& block) const {
    kernels::SkipSoftmax skip(lambda, at::kCPU);
    for (const Tensor& logits : groups_) {
      Tensor kept = logits.clone();
      kernels::reference::leave_out_(kept, skip, block);
      skip.add_all(kernels::count_blocks(block, 1, 1, logits.size(0), logits.size(1)));
      if (!values_.defined()) continue;
      const Tensor dense = attend(logits);
      changed += (attend(kept) - dense).square().sum(at::kDouble).item<double>();
      size += dense.square().sum(at::kDouble).item<double>();
    }
    blocks += skip.count();
  }

 private:
  Tensor attend(const Tensor& logits) const { return at::matmul((logits / kLog2E).softmax(-1), values_); }

  std::vector<Tensor> groups_;
  Tensor values_;
};

/// The smallest lambda with at least `share` of the gaps below its log2, or 0 where it would not be below 1.
double lambda_for(const std::vector<float>& sorted, double share) {
  const auto wanted = size_t(std::ceil(share * double(sorted.size())));
  if (wanted == 0 || wanted > sorted.size()) return 0;
  const float gap = sorted[wanted - 1];
  // A little more than the gap, so that the sum of the rule, rounded to float32, is above it.
  const double lambda = std::exp2(double(gap) + 1e-4);
  return gap < 0 && lambda < 1 ? lambda : 0;
}

Tensor floats_of(const Checkpoint& file, const std::string& name) {
  const Tensor x = file.map(name).clone();
  if (x.dim() != 4 || x.size(0) != 1 || x.numel() == 0 || !x.is_floating_point())
    throw std::invalid_argument("[" + name + "] must be floats [1, tokens, heads, width], got " +
                                std::string(at::toString(x.scalar_type())) + " of " + std::to_string(x.dim()) +
                                " dimensions; save attention's heads so");
  if (!x.isfinite().all().item<bool>())
    throw std::invalid_argument("[" + name + "] must be finite, holds NaN or Inf; capture it from a sound forward");
  return x.to(at::kFloat);
}

}  // namespace

std::vector<CapturedHeads> read_heads(const std::filesystem::path& path) {
  const Checkpoint file = Checkpoint::open(path);
  std::vector<CapturedHeads> all;
  const auto lacks = [&](const std::string& name) {
    return std::invalid_argument("[" + path.string() + "] must hold the tensors q and k, has no " + name +
                                 "; save an attention's queries and keys under these names");
  };
  for (const auto& [name, stored] : file.tensors()) {
    if (name != "q" && !name.ends_with(".q")) continue;
    const std::string prefix = name.substr(0, name.size() - 1);
    if (!file.tensors().contains(prefix + "k")) throw lacks(prefix + "k");
    CapturedHeads heads{floats_of(file, name), floats_of(file, prefix + "k"), {}};
    if (file.tensors().contains(prefix + "v")) heads.v = floats_of(file, prefix + "v");
    if (heads.q.sizes().slice(2) != heads.k.sizes().slice(2) ||
        (heads.v.defined() && heads.v.sizes() != heads.k.sizes()))
      throw std::invalid_argument("[" + path.string() + "] " + name +
                                  ", k and v must have the same heads and width, and v as many tokens as k");
    all.push_back(std::move(heads));
  }
  if (all.empty()) throw lacks("q");
  return all;
}

CapturedHeads draw_heads(int64_t tokens, int64_t heads, double deviation, uint64_t seed) {
  constexpr int64_t kWidth = 128, kRun = 256;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto draw = [&](int64_t count) { return at::randn({1, count, heads, kWidth}, generator); };
  // What a run of tokens has in common, and what each has alone, in equal parts.
  const Tensor common = draw((tokens + kRun - 1) / kRun).repeat_interleave(kRun, 1).narrow(1, 0, tokens);
  const double part = std::sqrt(0.5);
  const Tensor q = (common + draw(tokens)) * (part * deviation), k = (common + draw(tokens)) * part;
  return {q, k, draw(tokens)};
}

std::vector<Calibrated> calibrate(const std::vector<CapturedHeads>& attentions, const SkipBlock& block,
                                  const std::vector<double>& shares, int64_t groups) {
  // The logits of one head are held at a time: of all at 720p they would be gigabytes.
  const auto each_head = [&](const auto& look) {
    for (const CapturedHeads& heads : attentions)
      for (int64_t head = 0; head < heads.q.size(2); ++head) look(Sample(heads, head, block, groups));
  };
  std::vector<float> gaps;
  each_head([&](const Sample& sample) { sample.add_gaps(gaps, block); });
  std::sort(gaps.begin(), gaps.end());
  const auto negative = std::lower_bound(gaps.begin(), gaps.end(), 0.0f) - gaps.begin();
  std::vector<Calibrated> found;
  for (double share : shares) {
    Calibrated one{.wanted = share, .lambda = lambda_for(gaps, share)};
    if (one.lambda > 0) {
      kernels::SkippedBlocks blocks;
      double changed = 0, size = 0;
      each_head([&](const Sample& sample) { sample.add(blocks, changed, size, one.lambda, block); });
      one.share = double(blocks.skipped) / double(blocks.all);
      if (size > 0) one.error = std::sqrt(changed / size);
    } else {
      one.share = double(negative) / double(gaps.size());
    }
    found.push_back(one);
  }
  return found;
}

void skip_softmax(const SkipSoftmaxOptions& options, std::ostream& out) {
  const bool drawn = options.file.empty();
  const std::vector<CapturedHeads> attentions =
      drawn ? std::vector{draw_heads(options.tokens, options.heads, options.deviation, options.seed)}
            : read_heads(options.file);
  const CapturedHeads& heads = attentions.front();
  const SkipBlock block =
      kernels::skip_block(options.wgmma ? kernels::Instructions::Wgmma : kernels::Instructions::Mma);
  for (const Calibrated& one : calibrate(attentions, block, options.shares, options.groups)) {
    nlohmann::ordered_json line = {
        {"heads_of", drawn ? "drawn" : "captured"},
        {"tokens", heads.q.size(1)},
        {"keys", heads.k.size(1)},
        {"heads", heads.q.size(2)},
        {"attentions", attentions.size()},
        {"block", std::to_string(block.queries) + " queries by " + std::to_string(block.keys) + " keys"},
        {"wanted", one.wanted},
        {"share", one.share}};
    if (one.lambda > 0)
      line["lambda"] = one.lambda;
    else
      line["why_no_lambda"] = "even lambda just below 1 leaves out less than is wanted";
    if (one.error >= 0) line["relative_l2"] = one.error;
    out << line.dump() << "\n" << std::flush;
  }
}

}  // namespace wan::bench
