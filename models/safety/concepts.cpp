#include "models/safety/concepts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "models/files/error.h"

namespace wan::safety {
namespace {

constexpr int64_t kMost = 1000;
constexpr float kAdjustment = 0.01f;

/// Rows of length 1; one of zeros stays so. Source: torch.nn.functional.normalize.
Tensor normalised(const Tensor& rows) {
  const Tensor length = at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}, true);
  return rows / length.clamp_min(1e-12);
}

Tensor cosines(const Tensor& embeds, const Tensor& of) {
  return at::mm(normalised(embeds), normalised(of).t()).cpu().contiguous();
}

/// As numpy rounds a float32 to three places: multiplied and rounded to even, both in float32.
int64_t thousandths(float x) {
  return std::lrint(x * 1000.0f);
}

}  // namespace

Concepts::Concepts(Weights& weights, int64_t width)
    : special_care_(group(weights, "special_care_embeds", width)), concepts_(group(weights, "concept_embeds", width)) {}

Concepts::Group Concepts::group(Weights& weights, const char* name, int64_t width) {
  const Scope root = weights.root();
  const std::vector<int64_t> shape = root.shape(name);
  // Where the tensor is missing, it is told with the others.
  const int64_t count = shape.size() == 2 ? shape[0] : 1;
  if (count < 1 || count > kMost)
    throw ModelError(weights.checkpoint().label() + ": " + name, "must have 1 to " + std::to_string(kMost) +
                                                                     " concepts, has " + std::to_string(count) +
                                                                     "; take the file of the published model");
  const Making in_float = {.prepare = [](const std::vector<Tensor>& parts) { return parts[0].to(at::kFloat); }};
  return {root.take(name, {count, width}, Role::Float32, in_float),
          root.take(std::string(name) + "_weights", {count}, Role::Float32, in_float)};
}

std::vector<ConceptScores> Concepts::operator()(const Tensor& embeds) const {
  const Tensor special = cosines(embeds, special_care_.embeds.tensor());
  const Tensor plain = cosines(embeds, concepts_.embeds.tensor());
  const Tensor special_thresholds = special_care_.thresholds.tensor().cpu().contiguous();
  const Tensor plain_thresholds = concepts_.thresholds.tensor().cpu().contiguous();
  std::vector<ConceptScores> all(size_t(embeds.size(0)));
  for (size_t row = 0; row < all.size(); ++row) {
    ConceptScores& scores = all[row];
    float adjustment = 0;
    const auto score = [&](const Tensor& cosine, const Tensor& thresholds, int64_t i) {
      const float difference =
          cosine.const_data_ptr<float>()[int64_t(row) * cosine.size(1) + i] - thresholds.const_data_ptr<float>()[i];
      const float beyond = difference + adjustment;
      scores.finite = scores.finite && std::isfinite(beyond) && std::abs(beyond) < 1e6f;
      return scores.finite ? thousandths(beyond) : 0;
    };
    for (int64_t i = 0; i < special.size(1); ++i) {
      scores.special_care.push_back(score(special, special_thresholds, i));
      // From here on, also for the rest of this list, as in the source.
      if (scores.special_care.back() > 0) adjustment = kAdjustment;
    }
    for (int64_t i = 0; i < plain.size(1); ++i) scores.concepts.push_back(score(plain, plain_thresholds, i));
  }
  return all;
}

}  // namespace wan::safety
