#include "engine/sampling/captured_heads.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "models/weights/format/safetensors.h"

namespace wan {
namespace {

constexpr int64_t kSteps = 3, kLayers = 4, kHeads = 4, kGroups = 32;
/// Queries of a group: what decides together in any of our kernels divides it.
constexpr int64_t kGroupQueries = 64;
constexpr int64_t kMostBytes = 512'000'000;

/// At most `most` of the numbers below `count`, the first and the last among them.
std::vector<int64_t> spread(int64_t count, int64_t most) {
  std::vector<int64_t> found;
  const int64_t taken = std::min(count, most);
  for (int64_t i = 0; i < taken; ++i) found.push_back(taken > 1 ? i * (count - 1) / (taken - 1) : 0);
  return found;
}

/// Some heads of x [1, L, heads, head_dim] on the CPU, one after the other: the device has room for one.
at::Tensor of_heads(const at::Tensor& x, const std::vector<int64_t>& heads) {
  std::vector<at::Tensor> parts;
  for (int64_t head : heads) parts.push_back(x.select(2, head).cpu());
  return at::stack(parts, 2);
}

/// The rows of whole groups of queries, from the first to the last; all where there is less than one.
at::Tensor group_rows(int64_t queries) {
  std::vector<at::Tensor> groups;
  for (int64_t group : spread(std::max<int64_t>(queries / kGroupQueries, 1), kGroups))
    groups.push_back(at::arange(group * kGroupQueries, std::min((group + 1) * kGroupQueries, queries), at::kLong));
  return at::cat(groups);
}

}  // namespace

HeadsCapture::HeadsCapture(const Request& request, const Schedule& schedule, const StepReuse& reuse) {
  const int64_t dense =
      request.skip_softmax > 0 ? request.skip_softmax_dense : dense_steps(request.num_inference_steps);
  std::vector<int64_t> all, behind;
  for (const Step& step : schedule) {
    if (reuse.reuses(step.index, kConditional)) continue;  // it has no attention there
    all.push_back(step.index);
    if (step.index >= dense) behind.push_back(step.index);
  }
  if (behind.empty()) behind = all;
  for (int64_t i : spread(int64_t(behind.size()), kSteps)) steps_.insert(behind[size_t(i)]);
}

const SeeLayers* HeadsCapture::begin(const Step& step, int64_t layers) {
  if (!steps_.contains(step.index)) return nullptr;
  step_ = step.index;
  const std::vector<int64_t> some = spread(layers, kLayers);
  layers_ = {some.begin(), some.end()};
  return &see_;
}

void HeadsCapture::keep(int64_t layer, const at::Tensor& q, const at::Tensor& k) {
  if (!layers_.contains(layer)) return;
  char name[64];
  std::snprintf(name, sizeof name, "step%03ld.block%02ld.", long(step_), long(layer));
  const std::string prefix = name;
  if (tensors_.contains(prefix + "q")) return;  // the other branch of guidance, or a step that is made again
  const int64_t bytes_of_a_head = k.size(1) * k.size(3) * int64_t(k.element_size());
  const int64_t fit = kMostBytes / (kSteps * kLayers) / std::max<int64_t>(bytes_of_a_head, 1);
  const std::vector<int64_t> heads = spread(k.size(2), std::clamp<int64_t>(fit, 1, kHeads));
  const at::Tensor keys = of_heads(k, heads);  // before either is kept: one alone would be of no use
  tensors_[prefix + "q"] = of_heads(q, heads).index_select(1, group_rows(q.size(1)));
  tensors_[prefix + "k"] = keys;
}

void HeadsCapture::write(const std::filesystem::path& file) const {
  write_safetensors(file, tensors_);
}

}  // namespace wan
