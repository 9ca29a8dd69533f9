// Sizes of networks without a config.json, and a config.json against the tensors.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/recognise.h"
#include "models/wan_s2v/config.h"
#include "models/wav2vec2/config.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {
namespace {

using nlohmann::json;

void expect_equal(const WanConfig& got, const WanConfig& want) {
  EXPECT_EQ(got.dim, want.dim);
  EXPECT_EQ(got.ffn_dim, want.ffn_dim);
  EXPECT_EQ(got.freq_dim, want.freq_dim);
  EXPECT_EQ(got.in_dim, want.in_dim);
  EXPECT_EQ(got.out_dim, want.out_dim);
  EXPECT_EQ(got.num_heads, want.num_heads);
  EXPECT_EQ(got.num_layers, want.num_layers);
  EXPECT_EQ(got.text_len, want.text_len);
  EXPECT_EQ(got.eps, want.eps);
}

/// Of Wan2.2-T2V-A14B-Diffusers, transformer.
json diffusers_config() {
  return json::parse(R"({"_class_name": "WanTransformer3DModel", "_diffusers_version": "0.35.0.dev0",
    "added_kv_proj_dim": null, "attention_head_dim": 128, "cross_attn_norm": true, "eps": 1e-06, "ffn_dim": 13824,
    "freq_dim": 256, "image_dim": null, "in_channels": 16, "num_attention_heads": 40, "num_layers": 40,
    "out_channels": 16, "patch_size": [1, 2, 2], "pos_embed_seq_len": null, "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024, "text_dim": 4096})");
}

class SizesTest : public testing::Test {
 protected:
  std::filesystem::path write(const json& config) {
    std::ofstream(folder_ / "config.json") << config;
    return folder_ / "config.json";
  }
  TemporaryFolder folder_;
  const std::filesystem::path absent_ = folder_ / "absent.json";
};

TEST_F(SizesTest, TransformersTellTheirSizes) {
  expect_equal(WanConfig::of(published_tensors("official_dit_t2v_a14b"), "a file"), kWanT2vA14b);
  expect_equal(WanConfig::of(published_tensors("official_dit_i2v_a14b"), "a file"), kWanI2vA14b);
  expect_equal(WanConfig::of(published_tensors("official_dit_ti2v_5b"), "a file"),
               {3072, 14336, 256, 48, 48, 24, 30, 512, 1e-6});
  expect_equal(
      WanConfig::of(official_names(published_tensors("diffusers_dit_t2v_a14b"), Model::TextExpert, "a file"), "a file"),
      kWanT2vA14b);
  expect_equal(WanConfig::find(absent_, published_tensors("official_dit_t2v_a14b"), "a file"), kWanT2vA14b);
}

TEST_F(SizesTest, WhatTensorsDoNotTellIsRefused) {
  StoredTensors tensors = published_tensors("official_dit_t2v_a14b");
  tensors["patch_embedding.bias"].shape = {5000};
  EXPECT_EQ(
      refusal_by([&] { WanConfig::of(tensors, "a file"); }),
      "[a file] must be a multiple of 128 wide, the width of a head, where no config.json states the heads, is 5000 "
      "wide; put its config.json beside it");
  tensors.erase("head.head.weight");
  EXPECT_EQ(refusal_by([&] { WanConfig::of(tensors, "a file"); }),
            "[a file: head.head.weight] is absent, and out_dim is read off it where no config.json states it; take the "
            "file of a whole transformer");
  EXPECT_NE(refusal_by([] { WanConfig::of({}, "a file"); }), "");
}

TEST_F(SizesTest, ConfigsOfDiffusers) {
  const std::filesystem::path file = write(diffusers_config());
  expect_equal(WanConfig::read(file), kWanT2vA14b);
  expect_equal(WanConfig::find(file, published_tensors("official_dit_t2v_a14b"), "a file"), kWanT2vA14b);
  const std::pair<const char*, json> bad[] = {
      {"added_kv_proj_dim", 5120}, {"image_dim", 1280},         {"_class_name", "WanVACETransformer3DModel"},
      {"patch_size", {1, 4, 4}},   {"cross_attn_norm", false},  {"qk_norm", "rms_norm"},
      {"in_channels", "16"},       {"num_attention_heads", 0},  {"attention_head_dim", 65536},
      {"vace_layers", {0, 5}},     {"attention_head_dim", 127}, {"pos_embed_seq_len", 514},
  };
  for (const auto& [key, value] : bad) {
    json config = diffusers_config();
    config[key] = value;
    EXPECT_NE(refusal_by([&] { WanConfig::parse(config, "config.json"); }), "") << key << " = " << value;
  }
}

TEST_F(SizesTest, AConfigThatContradictsTheTensorsNamesBoth) {
  const StoredTensors tensors = published_tensors("official_dit_t2v_a14b");
  const std::pair<const char*, int64_t> wrong[] = {{"attention_head_dim", 64}, {"ffn_dim", 13825},   {"freq_dim", 128},
                                                   {"in_channels", 36},        {"out_channels", 48}, {"num_layers", 30},
                                                   {"text_dim", 1024}};
  for (const auto& [key, value] : wrong) {
    json config = diffusers_config();
    config[key] = value;
    const std::string text = refusal_by([&] { WanConfig::find(write(config), tensors, "wan_t2v.safetensors"); });
    EXPECT_NE(text.find("config.json]"), text.npos) << key << ": " << text;
    EXPECT_NE(text.find("wan_t2v.safetensors"), text.npos) << key << ": " << text;
  }
  json config = diffusers_config();
  config["num_layers"] = 30;
  const std::string text = refusal_by([&] { WanConfig::find(write(config), tensors, "wan_t2v.safetensors"); });
  EXPECT_NE(text.find("num_layers must be 40, as in the tensors of wan_t2v.safetensors, is 30; take the config.json of "
                      "this model"),
            text.npos)
      << text;
}

TEST_F(SizesTest, AFileThatLacksBlocksIsIncomplete) {
  const auto without = [](std::vector<int> blocks) {
    StoredTensors tensors = published_tensors("official_dit_t2v_a14b");
    for (int block : blocks)
      std::erase_if(tensors, [prefix = "blocks." + std::to_string(block) + "."](const auto& entry) {
        return entry.first.starts_with(prefix);
      });
    return tensors;
  };
  const auto untold = [&](const StoredTensors& tensors) {
    return refusal_by([&] { WanConfig::find(absent_, tensors, "a file"); });
  };
  EXPECT_EQ(untold(without({39})),
            "[a file] must have the blocks 0 to 39, as every published transformer that is 5120 wide, lacks block 39: "
            "it is incomplete; download it again");
  EXPECT_EQ(untold(without({2})),
            "[a file] must have the blocks 0 to 39, as the number of its last one says, lacks block 2: it is "
            "incomplete; download it again");
  StoredTensors more = without({});
  more["blocks.40.norm3.weight"] = more.at("blocks.39.norm3.weight");
  EXPECT_NE(untold(more).find("has 41; put its config.json beside it"), std::string::npos) << untold(more);
  const std::string stated = refusal_by([&] {
    WanConfig::find(write(diffusers_config()), without({2, 7, 8, 39}), "a file");
  });
  EXPECT_TRUE(stated.starts_with("[a file] must have the blocks 0 to 39, as ")) << stated;
  EXPECT_NE(stated.find("config.json states, lacks blocks 2, 7 to 8, 39: it is incomplete; download it again"),
            std::string::npos)
      << stated;
}

TEST_F(SizesTest, TheSpeechTransformer) {
  StoredTensors tensors = published_tensors("s2v_14b");
  const SpeechConfig told = SpeechConfig::of(tensors, "a file");
  expect_equal(told.wan, kWanS2v14b.wan);
  EXPECT_EQ(told.cond_dim, 16);
  EXPECT_EQ(told.audio_dim, 1024);
  EXPECT_EQ(told.num_audio_token, 4);
  EXPECT_EQ(told.audio_inject_layers, (std::vector<int64_t>{0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39}));
  std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("audio_injector.injector.11."); });
  EXPECT_NE(refusal_by([&] { SpeechConfig::of(tensors, "a file"); }).find("has 40 and 11"), std::string::npos);
  tensors = published_tensors("s2v_14b");
  tensors.erase("cond_encoder.weight");
  EXPECT_NE(refusal_by([&] { SpeechConfig::of(tensors, "a file"); }).find("lacks"), std::string::npos);
}

TEST_F(SizesTest, TheSpeechConfigAgainstTheTensors) {
  json config = {{"model_type", "s2v"},
                 {"adain_mode", "attn_norm"},
                 {"framepack_drop_mode", "padd"},
                 {"enable_adain", true},
                 {"enable_framepack", true},
                 {"zero_timestep", true},
                 {"add_last_motion", true},
                 {"enable_motioner", false},
                 {"enable_tsm", false},
                 {"trainable_token_pos_emb", false},
                 {"dim", 5120},
                 {"ffn_dim", 13824},
                 {"freq_dim", 256},
                 {"in_dim", 16},
                 {"out_dim", 16},
                 {"num_heads", 40},
                 {"num_layers", 40},
                 {"text_len", 512},
                 {"cond_dim", 16},
                 {"audio_dim", 1024},
                 {"num_audio_token", 4},
                 {"audio_inject_layers", {0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39}}};
  const StoredTensors tensors = published_tensors("s2v_14b");
  EXPECT_EQ(SpeechConfig::find(write(config), tensors, "a file").audio_inject_layers.size(), 12u);
  const std::pair<const char*, json> wrong[] = {
      {"cond_dim", 15}, {"audio_dim", 768}, {"num_audio_token", 5}, {"audio_inject_layers", {0, 4}}, {"dim", 2560}};
  for (const auto& [key, value] : wrong) {
    json changed = config;
    changed[key] = value;
    const std::string text = refusal_by([&] { SpeechConfig::find(write(changed), tensors, "speech.safetensors"); });
    EXPECT_NE(text.find("config.json] "), text.npos) << key << ": " << text;
    EXPECT_NE(text.find(std::string(key) + " must be "), text.npos) << text;
    EXPECT_NE(text.find("speech.safetensors"), text.npos) << text;
  }
}

json audio_config() {
  return {{"do_stable_layer_norm", true},
          {"feat_extract_norm", "layer"},
          {"conv_bias", true},
          {"hidden_act", "gelu"},
          {"feat_extract_activation", "gelu"},
          {"hidden_size", 1024},
          {"num_hidden_layers", 24},
          {"num_attention_heads", 16},
          {"intermediate_size", 4096},
          {"conv_dim", {512, 512, 512, 512, 512, 512, 512}},
          {"conv_kernel", {10, 3, 3, 3, 3, 2, 2}},
          {"conv_stride", {5, 2, 2, 2, 2, 2, 2}},
          {"num_conv_pos_embeddings", 128},
          {"num_conv_pos_embedding_groups", 16},
          {"layer_norm_eps", 1e-5}};
}

TEST_F(SizesTest, TheAudioEncoder) {
  StoredTensors tensors = published_tensors("wav2vec2_large_xlsr_53_english");
  const Wav2Vec2Config stated = Wav2Vec2Config::find(write(audio_config()), tensors, "a file");
  for (bool fused : {false, true}) {
    if (fused) {
      tensors.erase("wav2vec2.encoder.pos_conv_embed.conv.weight_g");
      auto node = tensors.extract("wav2vec2.encoder.pos_conv_embed.conv.weight_v");
      node.key() = "wav2vec2.encoder.pos_conv_embed.conv.weight";
      tensors.insert(std::move(node));
    }
    const Wav2Vec2Config told = Wav2Vec2Config::find(absent_, tensors, "a file");
    EXPECT_EQ(told.hidden_size, stated.hidden_size);
    EXPECT_EQ(told.num_hidden_layers, stated.num_hidden_layers);
    EXPECT_EQ(told.num_attention_heads, stated.num_attention_heads);
    EXPECT_EQ(told.intermediate_size, stated.intermediate_size);
    EXPECT_EQ(told.conv_dim, stated.conv_dim);
    EXPECT_EQ(told.conv_kernel, stated.conv_kernel);
    EXPECT_EQ(told.conv_stride, stated.conv_stride);
    EXPECT_EQ(told.num_conv_pos_embeddings, stated.num_conv_pos_embeddings);
    EXPECT_EQ(told.num_conv_pos_embedding_groups, stated.num_conv_pos_embedding_groups);
    EXPECT_EQ(told.layer_norm_eps, stated.layer_norm_eps);
  }
}

TEST_F(SizesTest, TheAudioConfigAgainstTheTensors) {
  const StoredTensors tensors = published_tensors("wav2vec2_large_xlsr_53_english");
  const std::pair<const char*, json> wrong[] = {{"hidden_size", 1280},
                                                {"num_hidden_layers", 12},
                                                {"intermediate_size", 5120},
                                                {"conv_dim", {512, 512, 512, 512, 512, 512, 256}},
                                                {"conv_kernel", {10, 3, 3, 3, 3, 2, 3}},
                                                {"num_conv_pos_embeddings", 64},
                                                {"num_conv_pos_embedding_groups", 8}};
  for (const auto& [key, value] : wrong) {
    json config = audio_config();
    config[key] = value;
    const std::string text = refusal_by([&] { Wav2Vec2Config::find(write(config), tensors, "audio.safetensors"); });
    EXPECT_NE(text.find(std::string("] ") + key), text.npos) << key << ": " << text;
    EXPECT_NE(text.find("as in the tensors of audio.safetensors"), text.npos) << key << ": " << text;
  }
  const auto changed = [&](const std::string& name, std::vector<int64_t> shape) {
    StoredTensors other = tensors;
    other[name].shape = std::move(shape);
    return refusal_by([&] { Wav2Vec2Config::of(other, "a file"); });
  };
  const std::string root = "wav2vec2.";
  EXPECT_NE(changed(root + "feature_projection.projection.weight", {1000, 512}), "");
  EXPECT_NE(changed(root + "feature_extractor.conv_layers.3.conv.weight", {512, 512, 65}).find("convolution 3"),
            std::string::npos);
  EXPECT_NE(
      changed(root + "feature_extractor.conv_layers.7.conv.weight", {512, 512, 2}).find("must have 7 convolutions"),
      std::string::npos);
  EXPECT_NE(changed(root + "encoder.layers.24.layer_norm.weight", {1024}).find("at most 24 layers"), std::string::npos);
}

}  // namespace
}  // namespace wan
