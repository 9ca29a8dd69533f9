// What a safety checker computes, by transformers: the cases of tests/oracle/safety, of which small ones lie in
// tests/golden/safety.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "models/safety/checker.h"
#include "models/safety/clip_vision.h"
#include "models/safety/concepts.h"
#include "models/safety/vit.h"
#include "tests/support.h"

namespace wan {

inline std::filesystem::path golden_safety(const std::string& name) {
  return std::filesystem::path(WAN_SOURCE_DIR) / "tests/golden/safety" / name;
}

/// A folder with a checker in one or more files, and what it computes, tensor by tensor.
struct SafetyCase {
  explicit SafetyCase(const std::filesystem::path& folder)
      : folder(folder),
        json(nlohmann::json::parse(std::ifstream(folder / "case.json"))),
        file(Checkpoint::open(folder / "case.safetensors")),
        config(safety::read_config(folder / "config.json")) {}

  at::Tensor input(const std::string& name) {
    seen.insert(name);
    return file.map(name);
  }
  /// Within the tolerance that the case states.
  void expect(const std::string& name, const at::Tensor& got) {
    seen.insert(name);
    const double atol = json.at("tensors").at(name).at("atol_fp32").get<double>();
    EXPECT_TRUE(is_close(got, file.map(name), atol)) << folder.filename().string() << ": " << name;
  }
  void expect_equal(const std::string& name, const at::Tensor& got) {
    seen.insert(name);
    EXPECT_EQ(max_abs_difference(got, file.map(name)), 0) << folder.filename().string() << ": " << name;
  }
  void expect_all_seen() const {
    for (const auto& entry : file.tensors())
      EXPECT_TRUE(seen.contains(entry.first)) << entry.first << " was not checked";
  }
  /// Each picture of the case, uint8 [H, W, 3].
  std::vector<at::Tensor> pictures() {
    std::vector<at::Tensor> all;
    while (file.tensors().contains("picture." + std::to_string(all.size())))
      all.push_back(input("picture." + std::to_string(all.size())));
    return all;
  }

  /// Compares scores and verdicts, which are whole numbers. `prefix`: "", or "random." for the case's random embeddings.
  void expect_scores(const std::string& prefix, const std::vector<safety::ConceptScores>& scores) {
    std::vector<at::Tensor> special, concepts, flagged;
    for (const safety::ConceptScores& of : scores) {
      EXPECT_TRUE(of.finite);
      special.push_back(at::tensor(of.special_care));
      concepts.push_back(at::tensor(of.concepts));
      flagged.push_back((concepts.back() > 0).any());
    }
    expect_equal(prefix + "special", at::stack(special));
    expect_equal(prefix + "concepts", at::stack(concepts));
    expect_equal(prefix + "flagged", at::stack(flagged));
  }

  std::filesystem::path folder;
  nlohmann::json json;
  Checkpoint file;
  safety::Config config;
  std::set<std::string> seen;
};

/// Every hidden state and result of the network in one of the case's files.
inline void compare_network(SafetyCase& golden, const Checkpoint& weights_file, const std::string& named) {
  SCOPED_TRACE(named);
  Weights weights(safety::official_names(weights_file, golden.config));
  const at::Tensor pixels = golden.input("pixels");
  const safety::Visitor visit = [&](int64_t index, const at::Tensor& state) {
    golden.expect("hidden." + std::to_string(index), state);
  };
  at::Tensor scores;
  if (const auto* config = std::get_if<safety::ClassifierConfig>(&golden.config)) {
    const safety::Classifier network(weights, *config);
    weights.finish();
    const at::Tensor logits = network.logits(pixels, visit);
    golden.expect("logits", logits);
    scores = logits.softmax(1).select(1, int64_t(config->nsfw));
    golden.expect("score", scores);
  } else {
    const auto& of_concepts = std::get<safety::ConceptsConfig>(golden.config);
    const safety::ClipVision network(weights, of_concepts);
    const safety::Concepts concepts(weights, of_concepts.projection_dim);
    weights.finish();
    const at::Tensor embeds = network.embeds(pixels, visit);
    golden.expect("embeds", embeds);
    golden.expect_scores("", concepts(embeds));
    golden.expect_scores("random.", concepts(golden.input("random.embeds")));
    scores = golden.file.map("concepts").amax(1) / 1000.0;
  }
  // The same as a checker, picture by picture.
  Weights again(safety::official_names(weights_file, golden.config));
  const auto checker = safety::make_checker(again, golden.config);
  again.finish();
  const std::vector<safety::Finding> findings = (*checker)(pixels);
  ASSERT_EQ(int64_t(findings.size()), pixels.size(0));
  for (size_t i = 0; i < findings.size(); ++i)
    EXPECT_NEAR(findings[i].score, scores[int64_t(i)].item<double>(), 1e-6) << i;  // float32, sums of other lengths
}

}  // namespace wan
