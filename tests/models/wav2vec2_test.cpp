// The audio encoder: names of the published file in both spellings, stretches, statistics, hostile configs.
#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/wav2vec2/model.h"
#include "tests/small_checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

const char* const kPublished = "wav2vec2_large_xlsr_53_english";

Wav2Vec2Config published_config() {
  return {.hidden_size = 1024,
          .num_hidden_layers = 24,
          .num_attention_heads = 16,
          .intermediate_size = 4096,
          .conv_dim = std::vector<int64_t>(7, 512),
          .conv_kernel = {10, 3, 3, 3, 3, 2, 2},
          .conv_stride = {5, 2, 2, 2, 2, 2, 2},
          .num_conv_pos_embeddings = 128,
          .num_conv_pos_embedding_groups = 16,
          .layer_norm_eps = 1e-5};
}

/// 32 wide, 16-wide convolutions, two layers.
Wav2Vec2Config small_config() {
  Wav2Vec2Config config = published_config();
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 48;
  config.conv_dim = std::vector<int64_t>(7, 16);
  return config;
}

bool in_small(const std::string& name) {
  const size_t at = name.find("encoder.layers.");
  return at == std::string::npos || std::stoi(name.substr(at + 15)) < 2;
}

std::map<std::string, Tensor> small_tensors() {
  return small_weights(kPublished, {{1024, 32}, {4096, 48}, {512, 16}, {64, 2}}, in_small, 1);
}

/// The second spelling of the weight norm.
void rename_weight_norm(auto& tensors) {
  const std::string conv = "wav2vec2.encoder.pos_conv_embed.conv.";
  auto move = [&](const char* from, const char* to) {
    auto node = tensors.extract(conv + from);
    node.key() = conv + to;
    tensors.insert(std::move(node));
  };
  move("weight_g", "parametrizations.weight.original0");
  move("weight_v", "parametrizations.weight.original1");
}

class Wav2Vec2Test : public testing::Test {
 protected:
  /// All hidden states of a network with `tensors`.
  Tensor states(const std::map<std::string, Tensor>& tensors, const Tensor& samples) {
    Weights weights(small_checkpoint(folder_ / "model.safetensors", tensors));
    Wav2Vec2 encoder(weights, small_config());
    weights.finish();
    std::vector<Tensor> all;
    encoder.hidden_states(samples, [&](int64_t index, const Tensor& state) {
      EXPECT_EQ(index, int64_t(all.size()));
      all.push_back(state.clone());
    });
    EXPECT_EQ(int64_t(all.size()), encoder.states());
    return at::stack(all);
  }

  TemporaryFolder folder_;
};

TEST_F(Wav2Vec2Test, UsesEveryNameOfThePublishedFileOnce) {
  auto tensors = published_tensors(kPublished);
  for (bool renamed : {false, true}) {
    if (renamed) rename_weight_norm(tensors);
    Weights weights(Checkpoint::names_only(tensors, kPublished));
    Wav2Vec2 encoder(weights, published_config());
    EXPECT_EQ(weights.checkpoint().tensors().size(), 424u);
    EXPECT_NO_THROW(weights.finish()) << renamed;
  }
}

TEST_F(Wav2Vec2Test, BothSpellingsAndBothRootsAreTheSameNetwork) {
  auto tensors = small_tensors();
  Tensor samples = at::randn({4000});
  Tensor want = states(tensors, samples);
  rename_weight_norm(tensors);
  EXPECT_TRUE(at::equal(states(tensors, samples), want));
  std::map<std::string, Tensor> bare;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with("wav2vec2.")) bare[name.substr(9)] = tensor;
  EXPECT_TRUE(at::equal(states(bare, samples), want));
}

TEST_F(Wav2Vec2Test, AWeightThatIsNormedAlreadyIsTheSameNetwork) {
  auto tensors = small_tensors();
  const Tensor samples = at::randn({4000}), want = states(tensors, samples);
  const std::string conv = "wav2vec2.encoder.pos_conv_embed.conv.";
  const Tensor g = tensors.at(conv + "weight_g"), v = tensors.at(conv + "weight_v");
  tensors[conv + "weight"] = v * (g / v.square().sum(at::IntArrayRef{0, 1}, true).sqrt());
  tensors.erase(conv + "weight_g");
  tensors.erase(conv + "weight_v");
  EXPECT_TRUE(is_close(states(tensors, samples), want, 1e-5));  // the norm is summed in another order
}

TEST_F(Wav2Vec2Test, MissingTensorsAreToldTogether) {
  auto tensors = small_tensors();
  tensors.erase("wav2vec2.encoder.layers.1.attention.q_proj.bias");
  tensors.erase("wav2vec2.encoder.pos_conv_embed.conv.weight_g");
  Weights weights(small_checkpoint(folder_ / "model.safetensors", tensors));
  Wav2Vec2 encoder(weights, small_config());
  try {
    weights.finish();
    FAIL() << "nothing was missed";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("layers.1.attention.q_proj.bias"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("weight_g"), std::string::npos);
  }
}

TEST_F(Wav2Vec2Test, StretchesOfFramesAreTheFramesOfTheWhole) {
  auto tensors = small_tensors();
  Weights weights(small_checkpoint(folder_ / "model.safetensors", tensors));
  Wav2Vec2 encoder(weights, small_config());
  const int64_t frames = 257;
  Tensor samples = at::randn({encoder.config().samples(frames) + 319});
  Tensor features = encoder.conv_features(samples);
  ASSERT_EQ(features.size(0), frames);
  // Each frame alone sees its own 400 samples.
  for (int64_t frame : {0, 99, 100, 199, 200, 256}) {
    Tensor alone = encoder.conv_features(samples.narrow(0, frame * 320, 400));
    EXPECT_TRUE(is_close(features[frame], alone[0], 1e-5)) << frame;  // float32, other order of sums
  }
}

TEST(Wav2Vec2Config, CountsFramesAndSamples) {
  const Wav2Vec2Config config = published_config();
  EXPECT_EQ(config.hop(), 320);
  EXPECT_EQ(config.samples(1), 400);
  EXPECT_EQ(config.frames(399), 0);
  EXPECT_EQ(config.frames(400), 1);
  EXPECT_EQ(config.frames(719), 1);
  EXPECT_EQ(config.frames(720), 2);
  EXPECT_EQ(config.frames(120 * 16000), 5999);
  for (int64_t frames : {1, 2, 77, 6000}) EXPECT_EQ(config.frames(config.samples(frames)), frames);
}

TEST(Wav2Vec2Config, RefusesWhatItDoesNotServe) {
  TemporaryFolder folder;
  const nlohmann::json good = {{"do_stable_layer_norm", true},
                               {"feat_extract_norm", "layer"},
                               {"conv_bias", true},
                               {"hidden_act", "gelu"},
                               {"feat_extract_activation", "gelu"},
                               {"hidden_size", 32},
                               {"num_hidden_layers", 2},
                               {"num_attention_heads", 2},
                               {"intermediate_size", 48},
                               {"conv_dim", {16, 16}},
                               {"conv_kernel", {10, 3}},
                               {"conv_stride", {5, 2}},
                               {"num_conv_pos_embeddings", 128},
                               {"num_conv_pos_embedding_groups", 16},
                               {"layer_norm_eps", 1e-5}};
  auto read = [&](const std::string& text) {
    std::ofstream(folder / "config.json") << text;
    return Wav2Vec2Config::read(folder / "config.json");
  };
  EXPECT_EQ(read(good.dump()).samples(1), 10 + 2 * 5);
  const std::pair<const char*, nlohmann::json> bad[] = {{"do_stable_layer_norm", false},
                                                        {"feat_extract_norm", "group"},
                                                        {"hidden_size", 0},
                                                        {"hidden_size", "32"},
                                                        {"hidden_size", 1e30},
                                                        {"hidden_size", 33},
                                                        {"num_attention_heads", UINT64_MAX},
                                                        {"conv_dim", {16}},
                                                        {"conv_kernel", {10, -3}},
                                                        {"conv_stride", {5, 1 << 20}},
                                                        {"conv_dim", std::vector<int>(100, 16)},
                                                        {"num_conv_pos_embedding_groups", 5},
                                                        {"layer_norm_eps", "0"},
                                                        {"layer_norm_eps", 0}};
  for (const auto& [key, value] : bad) {
    nlohmann::json json = good;
    json[key] = value;
    EXPECT_THROW(read(json.dump()), ModelError) << key << " = " << value;
    json.erase(key);
    EXPECT_THROW(read(json.dump()), ModelError) << "without " << key;
  }
  for (const char* text : {"", "[]", "{", "nonsense"}) EXPECT_THROW(read(text), ModelError) << text;
  EXPECT_THROW(read(std::string(100000, '[')), ModelError);
  EXPECT_THROW(Wav2Vec2Config::read(folder / "absent.json"), ModelError);
}

TEST(SampleStatistics, PiecesGiveWhatTheWholeGives) {
  Tensor samples = at::randn({100003}) * 0.01 + 0.7;
  SampleStatistics whole, pieces;
  whole.add(samples);
  for (const Tensor& piece : samples.split(1777)) pieces.add(piece);
  EXPECT_EQ(pieces.count(), samples.numel());
  Tensor want = samples.to(at::kDouble);
  want = (want - want.mean()) / (want.var(false) + 1e-7).sqrt();
  EXPECT_TRUE(is_close(whole.normalise(samples), want, 1e-6));  // float32 result of values up to 4.5
  EXPECT_TRUE(is_close(pieces.normalise(samples), want, 1e-6));
}

TEST(SampleStatistics, SilenceStaysSilent) {
  SampleStatistics statistics;
  statistics.add(at::zeros({1000}));
  EXPECT_EQ(statistics.normalise(at::zeros({1000})).abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace wan
