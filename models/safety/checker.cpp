#include "models/safety/checker.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "models/files/error.h"
#include "models/names/family.h"
#include "models/names/shapes.h"
#include "models/safety/clip_vision.h"
#include "models/safety/concepts.h"
#include "models/safety/vit.h"

namespace wan::safety {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

class OfClassifier : public Checker {
 public:
  OfClassifier(Weights& weights, const ClassifierConfig& c) : config_(c), network_(weights, c) {}

  const Config& config() const override { return config_; }
  std::vector<Finding> operator()(const Tensor& pixels) const override {
    std::vector<Finding> findings;
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      const Tensor logits = network_.logits(pixels.narrow(0, i, 1));
      const double score = logits.softmax(1)[0][int64_t(network_.config().nsfw)].item<double>();
      findings.push_back({std::isfinite(score) ? score : kNothing});
    }
    return findings;
  }

 private:
  Config config_;
  Classifier network_;
};

std::vector<double> as_numbers(const std::vector<int64_t>& thousandths) {
  std::vector<double> numbers;
  for (int64_t number : thousandths) numbers.push_back(double(number) / 1000);
  return numbers;
}

class OfConcepts : public Checker {
 public:
  OfConcepts(Weights& weights, const ConceptsConfig& c)
      : config_(c), network_(weights, c), concepts_(weights, c.projection_dim) {}

  const Config& config() const override { return config_; }
  std::vector<Finding> operator()(const Tensor& pixels) const override {
    std::vector<Finding> findings;
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      const ConceptScores scores = concepts_(network_.embeds(pixels.narrow(0, i, 1))).at(0);
      Finding finding{kNothing, as_numbers(scores.concepts), as_numbers(scores.special_care)};
      if (scores.finite) finding.score = *std::max_element(finding.concepts.begin(), finding.concepts.end());
      findings.push_back(std::move(finding));
    }
    return findings;
  }

 private:
  Config config_;
  ClipVision network_;
  Concepts concepts_;
};

bool is_classifier(const Config& config) {
  return std::holds_alternative<ClassifierConfig>(config);
}

/// What such a network cannot do without, and is told by.
const char* mark_of(const Config& config) {
  return is_classifier(config) ? "vit.embeddings" : "concept_embeds";
}

}  // namespace

double Checker::threshold() const {
  return is_classifier(config()) ? 0.5 : 0;
}

std::string Checker::found(const Finding& finding, double threshold) const {
  if (!(finding.score > threshold)) return "";
  if (const auto* classifier = std::get_if<ClassifierConfig>(&config()))
    return printable(classifier->labels[classifier->nsfw]);
  std::string numbers;
  int64_t count = 0;
  for (size_t i = 0; i < finding.concepts.size(); ++i) {
    if (!(finding.concepts[i] > threshold)) continue;
    numbers += (count++ ? ", " : " ") + std::to_string(i);
  }
  return (count == 1 ? "concept" : "concepts") + numbers;
}

Checkpoint official_names(const Checkpoint& checkpoint, const Config& config) {
  names::Official official =
      names::official(checkpoint.tensors(), is_classifier(config) ? names::kVit : names::kSafetyChecker);
  if (!official.twice.empty())
    throw ModelError(checkpoint.label(), "must have each tensor once, has " + printable(official.twice) +
                                             " by two names; download it again");
  if (!names::has(official.tensors, mark_of(config)))
    throw ModelError(checkpoint.label(), std::string("must be the weights of a") +
                                             (is_classifier(config) ? "n " : " ") + name_of(config) +
                                             ", as config.json beside it says, has no " + mark_of(config) +
                                             "; take both files of one model");
  return checkpoint.renamed(std::move(official.tensors));
}

std::unique_ptr<Checker> make_checker(Weights& weights, const Config& config) {
  if (const auto* classifier = std::get_if<ClassifierConfig>(&config))
    return std::make_unique<OfClassifier>(weights, *classifier);
  return std::make_unique<OfConcepts>(weights, std::get<ConceptsConfig>(config));
}

}  // namespace wan::safety
