// Queries and keys of some self-attentions of a render, on which `wan-bench skip-softmax` finds lambda.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "engine/request/schedule.h"
#include "engine/request/step_reuse.h"
#include "models/wan/model.h"

namespace wan {

/// Keeps those of four blocks in three steps behind the dense ones, first and last among them: of the conditional branch
/// up to four heads, all keys, and of the queries 32 groups of 64 neighbours. On the host, at most half a gigabyte, but
/// for one head of each where that is more. What it sees is copied: nothing else changes.
class HeadsCapture {
 public:
  /// Of the steps in which the conditional branch is computed.
  HeadsCapture(const Request& request, const Schedule& schedule, const StepReuse& reuse = {});
  HeadsCapture(const HeadsCapture&) = delete;
  HeadsCapture& operator=(const HeadsCapture&) = delete;

  /// What sees a forward of this step by a transformer of so many blocks; null where nothing of it is kept.
  const SeeLayers* begin(const Step& step, int64_t layers);

  /// How many attentions are kept so far.
  size_t count() const { return tensors_.size() / 2; }
  /// Safetensors "step010.block13.q" [1, queries, heads, head_dim], ".k" [1, keys, heads, head_dim]. Throws
  /// std::runtime_error where the disk refuses.
  void write(const std::filesystem::path& file) const;

 private:
  void keep(int64_t layer, const at::Tensor& q, const at::Tensor& k);

  std::set<int64_t> steps_, layers_;  // Step::index; blocks of the step that was begun last
  int64_t step_ = 0;
  const SeeLayers see_ = [this](int64_t layer, const at::Tensor& q, const at::Tensor& k) { keep(layer, q, k); };
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace wan
