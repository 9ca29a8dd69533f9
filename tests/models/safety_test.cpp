// The safety checkers: what transformers computes, names of the published files in both spellings, the rule of the concepts,
// hostile configs.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <limits>

#include "models/safety/preprocessing.h"
#include "tests/small_checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/safety_case.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using safety::ClassifierConfig;
using safety::ConceptsConfig;
using Tensors = std::map<std::string, at::Tensor>;

Tensors tensors_of(const Checkpoint& checkpoint) {
  Tensors tensors;
  for (const auto& entry : checkpoint.tensors()) tensors[entry.first] = checkpoint.map(entry.first).clone();
  return tensors;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  if (const size_t at = text.find(from); at != text.npos) text.replace(at, from.size(), to);
}

/// A name as transformers 5 has it in memory.
std::string newer(std::string name) {
  constexpr std::pair<const char*, const char*> kWords[] = {
      {"vit.encoder.layer.", "vit.layers."},
      {"attention.attention.query", "attention.q_proj"},
      {"attention.attention.key", "attention.k_proj"},
      {"attention.attention.value", "attention.v_proj"},
      {"attention.output.dense", "attention.o_proj"},
      {"intermediate.dense", "mlp.fc1"},
      {"output.dense", "mlp.fc2"},
      {"vision_model.vision_model.", "vision_model."},
  };
  for (const auto& [from, to] : kWords) replace(name, from, to);
  return name;
}

template <class Map>
Map renamed(const Map& tensors) {
  Map all;
  for (const auto& [name, tensor] : tensors) all.emplace(newer(name), tensor);
  return all;
}

ClassifierConfig published_classifier() {
  return {{768, 12, 12, 3072, 224, 16, 1e-12, safety::Gelu::Erf}, {"normal", "nsfw"}, 1};
}
ConceptsConfig published_concepts() {
  return {{1024, 24, 16, 4096, 224, 14, 1e-5, safety::Gelu::Quick}, 768};
}

/// The network of a small golden case.
class SafetyFiles : public testing::Test {
 protected:
  /// What building the network from `tensors` is refused with; empty where it is not.
  std::string refusal(const std::string& name, const Tensors& tensors) {
    return refusal_by([&] {
      const safety::Config config = safety::read_config(golden_safety(name) / "config.json");
      Weights weights(safety::official_names(small_checkpoint(folder_ / "model.safetensors", tensors), config));
      safety::make_checker(weights, config);
      weights.finish();
    });
  }
  Tensors vit() { return tensors_of(Checkpoint::open(golden_safety("vit_small") / "model.safetensors")); }
  Tensors clip() { return tensors_of(Checkpoint::open(golden_safety("clip_small") / "pytorch_model.bin")); }

  TemporaryFolder folder_;
};

TEST(Safety, ComputesWhatTransformersDoes) {
  const c10::InferenceMode inference;
  for (const char* name : {"vit_small", "clip_small"}) {
    SafetyCase golden(golden_safety(name));
    for (const auto& file : golden.json.at("weights").get<std::vector<std::string>>())
      compare_network(golden, Checkpoint::open(golden.folder / file), file);
    golden.pictures();              // resized in tests/engine/safety_test.cpp
    (void)golden.input("resized");  // there, too
    golden.expect_all_seen();
  }
}

TEST(Safety, UsesEveryNameOfThePublishedFilesOnce) {
  for (const bool again : {false, true}) {
    StoredTensors vit = published_tensors("vit_b16_nsfw"), clip = published_tensors("sd_safety_checker");
    EXPECT_EQ(vit.size(), 200u);
    EXPECT_EQ(clip.size(), 396u);
    clip["vision_model.vision_model.embeddings.position_ids"] = {at::kLong, {1, 257}, {257, 1}, nullptr};
    const std::pair<StoredTensors, safety::Config> both[] = {{again ? renamed(vit) : vit, published_classifier()},
                                                             {again ? renamed(clip) : clip, published_concepts()}};
    for (const auto& [tensors, config] : both) {
      Weights weights(safety::official_names(Checkpoint::names_only(tensors, "published"), config),
                      Place::on(at::kCPU, at::kFloat).planned());
      safety::make_checker(weights, config);
      EXPECT_NO_THROW(weights.finish()) << safety::name_of(config) << ", newer names " << again;
    }
  }
}

TEST_F(SafetyFiles, BothSpellingsAreTheSameNetwork) {
  const c10::InferenceMode inference;
  SafetyCase of_vit(golden_safety("vit_small")), of_clip(golden_safety("clip_small"));
  compare_network(of_vit, small_checkpoint(folder_ / "vit.safetensors", renamed(vit())), "newer names");
  compare_network(of_clip, small_checkpoint(folder_ / "clip.safetensors", renamed(clip())), "newer names");
}

TEST_F(SafetyFiles, AreWholeAndOfTheNetwork) {
  EXPECT_EQ(refusal("vit_small", vit()), "");
  EXPECT_EQ(refusal("clip_small", clip()), "");
  Tensors tensors = vit();
  tensors.erase("vit.encoder.layer.2.output.dense.bias");
  tensors.erase("classifier.weight");
  tensors["vit.layernorm.weight"] = at::ones({31});
  tensors["vit.head"] = at::ones({1});
  EXPECT_EQ(refusal("vit_small", tensors),
            "[model.safetensors] must hold exactly the tensors of its network, has 2 missing "
            "(vit.encoder.layer.2.output.dense.bias, classifier.weight), 1 of another kind (vit.layernorm.weight must "
            "be [32], "
            "is [31]), 1 unknown (vit.head); is it the model that its config.json describes, and complete?");
  tensors = clip();
  tensors.erase("special_care_embeds");
  EXPECT_NE(refusal("clip_small", tensors).find("1 missing (special_care_embeds)"), std::string::npos)
      << refusal("clip_small", tensors);
  tensors = clip();
  tensors["concept_embeds"] = at::zeros({2000, 24});
  EXPECT_EQ(
      refusal("clip_small", tensors),
      "[model.safetensors: concept_embeds] must have 1 to 1000 concepts, has 2000; take the file of the published "
      "model");
  EXPECT_EQ(
      refusal("clip_small", vit()),
      "[model.safetensors] must be the weights of a Stable Diffusion safety checker, as config.json beside it says, "
      "has no concept_embeds; take both files of one model");
  EXPECT_EQ(
      refusal("vit_small", clip()),
      "[model.safetensors] must be the weights of an image classifier (ViT), as config.json beside it says, has no "
      "vit.embeddings; take both files of one model");
  tensors = renamed(vit());
  tensors["vit.encoder.layer.0.attention.attention.query.bias"] = at::zeros({32});
  EXPECT_EQ(
      refusal("vit_small", tensors),
      "[model.safetensors] must have each tensor once, has vit.encoder.layer.0.attention.attention.query.bias by two "
      "names; download it again");
}

/// A checkpoint of concepts in two dimensions, at the angles of these cosines from [1, 0].
Tensors concepts_at(const std::vector<float>& special, const std::vector<float>& concepts, float threshold) {
  const auto rows = [](const std::vector<float>& cosines) {
    std::vector<at::Tensor> all;
    for (const float cosine : cosines) all.push_back(at::tensor({cosine, std::sqrt(1 - cosine * cosine)}) * 3);
    return at::stack(all);
  };
  return {{"special_care_embeds", rows(special)},
          {"special_care_embeds_weights", at::full({int64_t(special.size())}, threshold)},
          {"concept_embeds", rows(concepts)},
          {"concept_embeds_weights", at::full({int64_t(concepts.size())}, threshold)}};
}

safety::ConceptScores scores_of(const Tensors& tensors, const at::Tensor& embed) {
  const TemporaryFolder folder;
  Weights weights(small_checkpoint(folder / "model.safetensors", tensors));
  const safety::Concepts concepts(weights, 2);
  return concepts(embed.unsqueeze(0)).at(0);
}

TEST(SafetyConcepts, SpecialCareMakesTheOthersStricter) {
  const at::Tensor embed = at::tensor({2.0f, 0.0f});
  using Scores = std::vector<int64_t>;
  // 0.0004 beyond is rounded to 0, which is not above it; 0.0006 counts as 0.001.
  const safety::ConceptScores without = scores_of(concepts_at({0.48f, 0.5004f}, {0.4954f, 0.5006f}, 0.5f), embed);
  EXPECT_EQ(without.special_care, (Scores{-20, 0}));
  EXPECT_EQ(without.concepts, (Scores{-5, 1}));
  // The first of special care adds to those after it, too.
  const safety::ConceptScores with = scores_of(concepts_at({0.48f, 0.5012f, 0.492f}, {0.4954f, 0.48f}, 0.5f), embed);
  EXPECT_EQ(with.special_care, (Scores{-20, 1, 2}));
  EXPECT_EQ(with.concepts, (Scores{5, -10}));
  // The length of an embedding does not matter, and one of no length is near nothing.
  EXPECT_EQ(scores_of(concepts_at({0.4f}, {0.6f}, 0.5f), at::tensor({1e-3f, 0.0f})).concepts, (Scores{100}));
  EXPECT_EQ(scores_of(concepts_at({0.4f}, {0.6f}, 0.5f), at::zeros({2})).concepts, (Scores{-500}));
}

TEST(SafetyConcepts, WhatIsNoNumberIsTold) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  Tensors tensors = concepts_at({0.4f}, {0.6f, 0.4f}, 0.5f);
  EXPECT_TRUE(scores_of(tensors, at::ones({2})).finite);
  EXPECT_FALSE(scores_of(tensors, at::full({2}, nan)).finite);
  tensors["concept_embeds_weights"][1] = infinite;
  EXPECT_FALSE(scores_of(tensors, at::ones({2})).finite);
}

TEST_F(SafetyFiles, AFindingNamesWhatWasFound) {
  const c10::InferenceMode inference;
  SafetyCase golden(golden_safety("clip_small"));
  Weights weights(safety::official_names(Checkpoint::open(golden.folder / "pytorch_model.bin"), golden.config));
  const auto checker = safety::make_checker(weights, golden.config);
  EXPECT_EQ(checker->threshold(), 0);
  const safety::Finding shown{0.012, {-0.1, 0.004, 0, 0.012}, {}};
  EXPECT_EQ(checker->found(shown, 0), "concepts 1, 3");
  EXPECT_EQ(checker->found(shown, 0.01), "concept 3");
  EXPECT_EQ(checker->found(shown, 0.012), "");
  EXPECT_TRUE(std::isnan((*checker)(at::full({1, 3, 30, 30}, std::nan("")))[0].score));
  EXPECT_THROW((*checker)(at::zeros({1, 3, 28, 28})), c10::Error);

  SafetyCase other(golden_safety("vit_small"));
  Weights of_vit(safety::official_names(Checkpoint::open(other.folder / "model.safetensors"), other.config));
  const auto classifier = safety::make_checker(of_vit, other.config);
  EXPECT_EQ(classifier->threshold(), 0.5);
  EXPECT_EQ(classifier->found({0.6}, 0.5), "nsfw");
  EXPECT_EQ(classifier->found({0.5}, 0.5), "");
  EXPECT_TRUE(std::isnan((*classifier)(at::full({1, 3, 32, 32}, std::nan("")))[0].score));
  // What is said of a picture does not depend on those beside it.
  const at::Tensor pixels = other.input("pixels");
  const double whole = (*classifier)(pixels)[2].score;
  EXPECT_EQ((*classifier)(pixels.narrow(0, 2, 1))[0].score, whole);
}

/// Reads a config.json of this text.
class SafetyJson : public testing::Test {
 protected:
  safety::Config config(const nlohmann::json& json) {
    std::ofstream(folder_ / "config.json") << json.dump();
    return safety::read_config(folder_ / "config.json");
  }
  safety::Preprocessing input(const nlohmann::json& json, const safety::Config& config) {
    std::ofstream(folder_ / "preprocessor_config.json") << json.dump();
    return safety::Preprocessing::read(folder_ / "preprocessor_config.json", config);
  }
  std::string refused(const nlohmann::json& json) {
    return refusal_by([&] { config(json); });
  }
  std::string refused_input(const nlohmann::json& json, const safety::Config& of) {
    return refusal_by([&] { input(json, of); });
  }

  nlohmann::json vit_ = {{"model_type", "vit"}, {"id2label", {{"0", "normal"}, {"1", "nsfw"}}}};
  nlohmann::json clip_ = {{"model_type", "clip"},
                          {"projection_dim", 768},
                          {"vision_config",
                           {{"hidden_size", 1024},
                            {"intermediate_size", 4096},
                            {"num_attention_heads", 16},
                            {"num_hidden_layers", 24},
                            {"patch_size", 14}}}};
  TemporaryFolder folder_;
};

TEST_F(SafetyJson, LeavesOutWhatIsAsTransformersHasIt) {
  const auto vit = std::get<ClassifierConfig>(config(vit_));
  EXPECT_EQ(vit.vision.hidden_size, 768);
  EXPECT_EQ(vit.vision.tokens(), 197);
  EXPECT_EQ(vit.vision.layer_norm_eps, 1e-12);
  EXPECT_EQ(vit.vision.hidden_act, safety::Gelu::Erf);
  EXPECT_EQ(vit.nsfw, 1u);
  const auto clip = std::get<ConceptsConfig>(config(clip_));
  EXPECT_EQ(clip.vision.image_size, 224);
  EXPECT_EQ(clip.vision.tokens(), 257);
  EXPECT_EQ(clip.vision.layer_norm_eps, 1e-5);
  EXPECT_EQ(clip.vision.hidden_act, safety::Gelu::Quick);
  EXPECT_EQ(clip.projection_dim, 768);
  // Of older files, whose second description counts.
  clip_["vision_config_dict"] = {{"hidden_size", 64}, {"num_attention_heads", 4}};
  EXPECT_EQ(std::get<ConceptsConfig>(config(clip_)).vision.hidden_size, 64);
  EXPECT_EQ(std::get<ConceptsConfig>(config(clip_)).vision.patch_size, 32);
}

TEST_F(SafetyJson, RefusesWhatItDoesNotServe) {
  const std::string take = "; take the file of the published model", other =
                                                                         "; take a safety checker such as "
                                                                         "Falconsai/nsfw_image_detection";
  const auto with = [](nlohmann::json json, const char* key, const nlohmann::json& value) {
    json[key] = value;
    return json;
  };
  EXPECT_EQ(
      refused(with(vit_, "model_type", "swin")),
      "[config.json] model_type must be vit (an image classifier) or clip (the Stable Diffusion safety checker), is "
      "swin; name the folder of another safety checker");
  EXPECT_NE(refused({{"hidden_size", 768}}).find("is absent; name the folder"), std::string::npos);
  EXPECT_EQ(refused(with(vit_, "id2label", {{"0", "cat"}, {"1", "dog"}})),
            "[config.json] id2label must have the label nsfw once, has: cat, dog" + other);
  EXPECT_EQ(refused(with(vit_, "id2label", {{"0", "NSFW"}, {"1", "nsfw"}})),
            "[config.json] id2label must have the label nsfw once, has: NSFW, nsfw" + other);
  EXPECT_EQ(refused(with(vit_, "id2label", {{"0", "normal"}, {"2", "nsfw"}})),
            "[config.json] id2label must have a word for each number from 0 to 1, lacks 1" + take);
  EXPECT_EQ(refused({{"model_type", "vit"}}),
            "[config.json] id2label must name 2 to 100 labels, one of them nsfw" + other);
  EXPECT_EQ(refused(with(vit_, "hidden_act", "relu")),
            "[config.json] hidden_act must be gelu or quick_gelu, got relu" + take);
  EXPECT_EQ(refused({{"model_type", "clip"}}),
            "[config.json] vision_config must describe the picture encoder, is absent" + take);
  clip_["vision_config"]["num_attention_heads"] = 17;
  EXPECT_EQ(refused(clip_), "[config.json: vision_config] hidden_size must be a multiple of num_attention_heads");
  const std::pair<const char*, nlohmann::json> bad[] = {{"hidden_size", 0},
                                                        {"hidden_size", "768"},
                                                        {"hidden_size", 1e30},
                                                        {"hidden_size", 769},
                                                        {"num_hidden_layers", -1},
                                                        {"num_attention_heads", UINT64_MAX},
                                                        {"patch_size", 225},
                                                        {"patch_size", 1},
                                                        {"image_size", {224, 224}},
                                                        {"image_size", 1 << 20},
                                                        {"layer_norm_eps", 0},
                                                        {"num_channels", 1},
                                                        {"qkv_bias", false},
                                                        {"head_dim", 32},
                                                        {"problem_type", "multi_label_classification"},
                                                        {"id2label", {"a", "b"}},
                                                        {"id2label", {{"0", 1}, {"1", "nsfw"}}}};
  for (const auto& [key, value] : bad) EXPECT_NE(refused(with(vit_, key, value)), "") << key << " = " << value;
  for (const nlohmann::json& value : {nlohmann::json(5), nlohmann::json::array(), nlohmann::json("")})
    EXPECT_NE(refused(with(clip_, "vision_config", value)), "") << value;
  EXPECT_NE(refused(nlohmann::json::array()), "");
  EXPECT_NE(refusal_by([&] { safety::read_config(folder_ / "absent.json"); }), "");
}

TEST_F(SafetyJson, PreprocessingOfOldAndNewFiles) {
  const safety::Config vit = config(vit_), clip = config(clip_);
  using Filter = safety::Preprocessing::Filter;
  const safety::Preprocessing plain = input(nlohmann::json::object(), vit);
  EXPECT_EQ(plain.shortest_edge, 0);
  EXPECT_EQ(plain.size, 224);
  EXPECT_EQ(plain.resample, Filter::Bilinear);
  EXPECT_EQ(plain.image_mean[2], 0.5);
  EXPECT_EQ(plain.rescale_factor, 1.0 / 255);
  EXPECT_EQ(input({{"size", 224}, {"resample", 3}}, vit).resample, Filter::Bicubic);
  for (const nlohmann::json& json :
       {nlohmann::json::object(), nlohmann::json{{"size", 224}, {"crop_size", 224}},
        nlohmann::json{{"size", {{"shortest_edge", 224}}}, {"crop_size", {{"height", 224}, {"width", 224}}}},
        nlohmann::json{{"feature_extractor_type", "CLIPFeatureExtractor"}, {"do_center_crop", true}}}) {
    const safety::Preprocessing read = input(json, clip);
    EXPECT_EQ(read.shortest_edge, 224);
    EXPECT_EQ(read.size, 224);
    EXPECT_EQ(read.resample, Filter::Bicubic);
    EXPECT_EQ(read.image_mean[0], 0.48145466);
  }
  EXPECT_EQ(input({{"size", {{"height", 224}, {"width", 224}}}}, clip).shortest_edge, 0);
  // Either network may have either processor.
  EXPECT_EQ(input({{"image_processor_type", "CLIPImageProcessor"}}, vit).shortest_edge, 224);
  EXPECT_EQ(input({{"image_processor_type", "ViTImageProcessorFast"}}, clip).shortest_edge, 0);
}

TEST_F(SafetyJson, RefusesOtherPreprocessing) {
  const safety::Config vit = config(vit_), clip = config(clip_);
  EXPECT_EQ(refused_input({{"size", 256}}, vit),
            "[preprocessor_config.json] must make pictures of 224 pixels, as config.json beside it says, makes 256; "
            "take both "
            "files of one model");
  EXPECT_EQ(refused_input({{"size", {{"height", 224}, {"width", 200}}}}, vit),
            "[preprocessor_config.json: size] height and width must be equal, are 224 and 200");
  EXPECT_EQ(refused_input({{"size", 200}}, clip),
            "[preprocessor_config.json] size must be at least crop_size, 224, is 200");
  EXPECT_EQ(refused_input({{"image_processor_type", "SiglipImageProcessor"}}, vit),
            "[preprocessor_config.json] image_processor_type must be ViTImageProcessor or CLIPImageProcessor, is "
            "SiglipImageProcessor; take the file of the published model");
  const std::pair<const char*, nlohmann::json> bad[] = {{"do_resize", false},
                                                        {"do_rescale", false},
                                                        {"do_normalize", false},
                                                        {"resample", 0},
                                                        {"resample", 4},
                                                        {"resample", "bicubic"},
                                                        {"rescale_factor", 0},
                                                        {"rescale_factor", 1},
                                                        {"image_mean", {0.5, 0.5}},
                                                        {"image_mean", 0.5},
                                                        {"image_std", {1, 0, 1}},
                                                        {"image_std", {1, "1", 1}},
                                                        {"size", {{"longest_edge", 224}}}};
  for (const auto& [key, value] : bad) {
    EXPECT_NE(refused_input({{key, value}}, vit), "") << key << " = " << value;
    EXPECT_NE(refused_input({{key, value}}, clip), "") << key << " = " << value;
  }
  EXPECT_NE(refused_input({{"do_center_crop", true}}, vit), "");
  EXPECT_NE(refused_input({{"do_center_crop", false}}, clip), "");
  EXPECT_NE(refused_input({{"size", {{"shortest_edge", 224}, {"longest_edge", 300}}}}, clip), "");
}

}  // namespace
}  // namespace wan
