// Names of published files in other namings, to the official ones.
#include <gtest/gtest.h>

#include "models/files/error.h"
#include "models/names/pattern.h"
#include "models/names/shapes.h"
#include "models/recognise.h"
#include "models/wan/model.h"
#include "models/wan_s2v/model.h"
#include "tests/sparse_checkpoint.h"

namespace wan {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

Shapes shapes_of(const StoredTensors& tensors) {
  Shapes shapes;
  for (const auto& [name, tensor] : tensors) shapes[name] = tensor.shape;
  return shapes;
}

StoredTensors official(const StoredTensors& tensors, Model model) {
  return official_names(tensors, model, "a file");
}

/// The tensors with each name changed.
template <typename Change>
StoredTensors renamed(const StoredTensors& tensors, Change change) {
  StoredTensors out;
  for (const auto& [name, tensor] : tensors) out.emplace(change(name), tensor);
  return out;
}

/// Marks each tensor, so that two of one shape cannot be taken for each other.
StoredTensors numbered(StoredTensors tensors) {
  uint64_t number = 0;
  for (auto& entry : tensors) entry.second.offset = ++number;
  return tensors;
}

std::string refusal(const StoredTensors& tensors, Model model) {
  try {
    official(tensors, model);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

/// Each tensor `first` of a file has the official name `second`.
void expect_pairs(const char* list, Model model, const std::vector<std::pair<std::string, std::string>>& pairs) {
  const StoredTensors file = numbered(published_tensors(list)), translated = official(file, model);
  for (const auto& [from, to] : pairs) {
    ASSERT_TRUE(file.contains(from)) << from;
    ASSERT_TRUE(translated.contains(to)) << to;
    EXPECT_EQ(translated.at(to).offset, file.at(from).offset) << from << " is not " << to;
  }
}

TEST(Pattern, MatchesWholeSegments) {
  using names::match;
  EXPECT_EQ(match("blocks.12.attn1.to_q.weight", "blocks.*.attn1.to_q")->rest, ".weight");
  EXPECT_EQ(match("blocks.12.attn1.to_q.weight", "blocks.*.attn1.to_q")->numbers.at(0), "12");
  EXPECT_EQ(match("blocks.3.modulation", "blocks.*.modulation")->rest, "");
  for (const char* other : {"blocks.3", "blocks.x.attn1.to_q", "blocks.3.attn1.to_qk", "block.3.attn1.to_q", "blocks",
                            "blocks..attn1.to_q", ""})
    EXPECT_FALSE(match(other, "blocks.*.attn1.to_q")) << other;
  constexpr names::Row kRows[] = {{"a.*.b.*", "c.*.d.*.e"}, {"a", "z"}};
  EXPECT_EQ(names::translate("a.1.b.22.weight", kRows), "c.1.d.22.e.weight");
  EXPECT_EQ(names::translate("a.1.c", kRows), "z.1.c") << "the next row that matches";
  EXPECT_EQ(names::translate("ab.1", kRows), "ab.1");
}

TEST(Names, EveryPublishedNamingIsTheOfficialSet) {
  const struct {
    const char *file, *official;
    Model model;
  } cases[] = {{"diffusers_dit_t2v_a14b", "official_dit_t2v_a14b", Model::TextExpert},
               {"diffusers_wan2_1_vae", "official_wan2_1_vae", Model::Vae},
               {"hf_umt5_xxl_encoder", "official_umt5_xxl_encoder", Model::TextEncoder},
               {"gguf_umt5_xxl_encoder", "official_umt5_xxl_encoder", Model::TextEncoder},
               {"official_dit_t2v_a14b", "official_dit_t2v_a14b", Model::TextExpert},
               {"official_dit_i2v_a14b", "official_dit_i2v_a14b", Model::ImageExpert},
               {"s2v_14b", "s2v_14b", Model::Speech},
               {"official_wan2_1_vae", "official_wan2_1_vae", Model::Vae},
               {"official_umt5_xxl_encoder", "official_umt5_xxl_encoder", Model::TextEncoder}};
  for (const auto& [file, wanted, model] : cases)
    EXPECT_EQ(shapes_of(official(published_tensors(file), model)), shapes_of(published_tensors(wanted))) << file;
}

// Shapes do not tell these from each other.
TEST(Names, NothingOfOneShapeIsSwapped) {
  expect_pairs("diffusers_dit_t2v_a14b", Model::TextExpert,
               {{"condition_embedder.time_embedder.linear_2.weight", "time_embedding.2.weight"},
                {"condition_embedder.text_embedder.linear_2.weight", "text_embedding.2.weight"},
                {"condition_embedder.time_embedder.linear_1.bias", "time_embedding.0.bias"},
                {"blocks.7.attn1.to_q.weight", "blocks.7.self_attn.q.weight"},
                {"blocks.7.attn1.to_k.weight", "blocks.7.self_attn.k.weight"},
                {"blocks.7.attn1.to_v.bias", "blocks.7.self_attn.v.bias"},
                {"blocks.7.attn1.to_out.0.weight", "blocks.7.self_attn.o.weight"},
                {"blocks.7.attn1.norm_q.weight", "blocks.7.self_attn.norm_q.weight"},
                {"blocks.7.attn1.norm_k.weight", "blocks.7.self_attn.norm_k.weight"},
                {"blocks.39.attn2.to_q.weight", "blocks.39.cross_attn.q.weight"},
                {"blocks.39.attn2.to_k.weight", "blocks.39.cross_attn.k.weight"},
                {"blocks.39.attn2.to_v.weight", "blocks.39.cross_attn.v.weight"},
                {"blocks.39.attn2.to_out.0.bias", "blocks.39.cross_attn.o.bias"},
                {"blocks.39.attn2.norm_q.weight", "blocks.39.cross_attn.norm_q.weight"},
                {"blocks.39.attn2.norm_k.weight", "blocks.39.cross_attn.norm_k.weight"},
                {"blocks.0.norm2.weight", "blocks.0.norm3.weight"},
                {"blocks.0.ffn.net.2.bias", "blocks.0.ffn.2.bias"}});
  expect_pairs("diffusers_wan2_1_vae", Model::Vae,
               {{"encoder.mid_block.resnets.0.conv1.weight", "encoder.middle.0.residual.2.weight"},
                {"encoder.mid_block.resnets.1.conv2.weight", "encoder.middle.2.residual.6.weight"},
                {"decoder.mid_block.resnets.0.norm2.gamma", "decoder.middle.0.residual.3.gamma"},
                {"decoder.mid_block.resnets.1.norm1.gamma", "decoder.middle.2.residual.0.gamma"},
                {"encoder.down_blocks.9.conv1.weight", "encoder.downsamples.9.residual.2.weight"},
                {"encoder.down_blocks.10.conv2.weight", "encoder.downsamples.10.residual.6.weight"},
                {"encoder.down_blocks.8.time_conv.weight", "encoder.downsamples.8.time_conv.weight"},
                {"decoder.up_blocks.0.resnets.2.conv1.weight", "decoder.upsamples.2.residual.2.weight"},
                {"decoder.up_blocks.0.upsamplers.0.resample.1.weight", "decoder.upsamples.3.resample.1.weight"},
                {"decoder.up_blocks.1.resnets.1.conv2.weight", "decoder.upsamples.5.residual.6.weight"},
                {"decoder.up_blocks.1.upsamplers.0.time_conv.bias", "decoder.upsamples.7.time_conv.bias"},
                {"decoder.up_blocks.2.resnets.0.conv1.weight", "decoder.upsamples.8.residual.2.weight"},
                {"decoder.up_blocks.3.resnets.2.conv2.weight", "decoder.upsamples.14.residual.6.weight"}});
  expect_pairs("hf_umt5_xxl_encoder", Model::TextEncoder,
               {{"encoder.block.5.layer.0.SelfAttention.q.weight", "blocks.5.attn.q.weight"},
                {"encoder.block.5.layer.0.SelfAttention.o.weight", "blocks.5.attn.o.weight"},
                {"encoder.block.5.layer.0.layer_norm.weight", "blocks.5.norm1.weight"},
                {"encoder.block.5.layer.1.layer_norm.weight", "blocks.5.norm2.weight"},
                {"encoder.block.5.layer.1.DenseReluDense.wi_0.weight", "blocks.5.ffn.gate.0.weight"},
                {"encoder.block.5.layer.1.DenseReluDense.wi_1.weight", "blocks.5.ffn.fc1.weight"},
                {"encoder.final_layer_norm.weight", "norm.weight"}});
  expect_pairs("gguf_umt5_xxl_encoder", Model::TextEncoder,
               {{"enc.blk.5.attn_k.weight", "blocks.5.attn.k.weight"},
                {"enc.blk.5.attn_v.weight", "blocks.5.attn.v.weight"},
                {"enc.blk.5.attn_norm.weight", "blocks.5.norm1.weight"},
                {"enc.blk.5.ffn_norm.weight", "blocks.5.norm2.weight"},
                {"enc.blk.5.ffn_gate.weight", "blocks.5.ffn.gate.0.weight"},
                {"enc.blk.5.ffn_up.weight", "blocks.5.ffn.fc1.weight"},
                {"enc.output_norm.weight", "norm.weight"}});
}

TEST(Names, TheAudioEncoderInAllSpellings) {
  const StoredTensors published = published_tensors("wav2vec2_large_xlsr_53_english");
  const StoredTensors want = official(published, Model::AudioEncoder);
  EXPECT_EQ(want.size(), 421u) << "without lm_head and masked_spec_embed";
  EXPECT_FALSE(want.contains("lm_head.weight"));
  StoredTensors newer = renamed(published, [](std::string name) {
    for (const auto& [from, to] : {std::pair{"weight_g", "parametrizations.weight.original0"},
                                   std::pair{"weight_v", "parametrizations.weight.original1"}})
      if (const size_t at = name.find(from); at != name.npos) name.replace(at, 8, to);
    return name;
  });
  ASSERT_TRUE(newer.contains("wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"));
  EXPECT_EQ(shapes_of(official(newer, Model::AudioEncoder)), shapes_of(want));
  std::erase_if(newer, [](const auto& entry) { return entry.first.starts_with("lm_head"); });
  const StoredTensors bare = renamed(newer, [](const std::string& name) { return name.substr(9); });
  EXPECT_EQ(shapes_of(official(bare, Model::AudioEncoder)), shapes_of(want));
}

TEST(Names, WhatIsNoWeightIsDroppedAndTheUnknownStays) {
  StoredTensors tensors = published_tensors("hf_umt5_xxl_encoder");
  const Shapes want = shapes_of(official(tensors, Model::TextEncoder));
  for (const char* extra :
       {"spiece_model", "scaled_fp8", "lm_head.weight", "decoder.block.0.layer.0.layer_norm.weight"})
    tensors[extra] = {at::kByte, {7}, {1}, nullptr};
  tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"];
  EXPECT_EQ(shapes_of(official(tensors, Model::TextEncoder)), want);

  tensors["some.other.weight"] = {at::kFloat, {7}, {1}, nullptr};
  EXPECT_EQ(official(tensors, Model::TextEncoder).size(), want.size() + 1);
  EXPECT_TRUE(official(tensors, Model::TextEncoder).contains("some.other.weight"));

  tensors.erase("shared.weight");  // the alias alone is the table
  EXPECT_TRUE(official(tensors, Model::TextEncoder).contains("token_embedding.weight"));
}

TEST(Names, TwoTensorsOfOneNameAreRefused) {
  StoredTensors tensors = published_tensors("diffusers_dit_t2v_a14b");
  tensors["blocks.3.self_attn.q.weight"] = tensors["blocks.3.attn1.to_q.weight"];
  EXPECT_EQ(refusal(tensors, Model::TextExpert),
            "[a file] must have each tensor once, has blocks.3.self_attn.q.weight by two names; download it again, or "
            "take another file of the model");
  tensors = published_tensors("hf_umt5_xxl_encoder");
  tensors["encoder.embed_tokens.weight"] = {at::kFloat, {7, 4096}, {4096, 1}, nullptr};
  EXPECT_NE(refusal(tensors, Model::TextEncoder).find("token_embedding.weight"), std::string::npos)
      << "an alias of another shape is none";
}

// As GGUF writers leave them: without leading ones, and with at most four axes.
TEST(Names, LostAxesComeBack) {
  StoredTensors tensors = published_tensors("s2v_14b");
  const Shapes want = shapes_of(tensors);
  int lost = 0, joined = 0;
  for (auto& [name, tensor] : tensors) {
    while (!tensor.shape.empty() && tensor.shape[0] == 1) {
      tensor.shape.erase(tensor.shape.begin());
      tensor.strides.erase(tensor.strides.begin());
      ++lost;
    }
    if (tensor.shape.size() != 5) continue;
    tensor.shape[1] *= tensor.shape[0];
    tensor.shape.erase(tensor.shape.begin());
    tensor.strides.erase(tensor.strides.begin());
    ++joined;
  }
  ASSERT_EQ(lost, 40 + 1 + 1 + 3) << "modulations of blocks and head, weights, padding_tokens";
  ASSERT_EQ(joined, 5);
  tensors = official(tensors, Model::Speech);
  EXPECT_EQ(shapes_of(tensors), want);
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(tensor.strides.size(), tensor.shape.size()) << name;
    if (tensor.shape.size() == 5) {
      EXPECT_EQ(tensor.strides, row_major_strides(tensor.shape)) << name;
    }
  }
  Weights weights(Checkpoint::names_only(tensors, "a file"));
  SpeechModel model(weights.root(), kWanS2v14b, at::kBFloat16);
  EXPECT_NO_THROW(weights.finish());
}

TEST(Names, OtherShapesStay) {
  StoredTensors tensors = published_tensors("official_dit_t2v_a14b");
  tensors["blocks.3.modulation"].shape = {5120, 6};
  tensors["blocks.4.modulation"].shape = {6, 1, 5120};
  tensors["patch_embedding.weight"].shape = {5121, 1, 2, 2};
  tensors["patch_embedding.weight"].strides = {4, 4, 2, 1};
  tensors = official(tensors, Model::TextExpert);
  EXPECT_EQ(tensors["blocks.3.modulation"].shape, (std::vector<int64_t>{1, 5120, 6})) << "never transposed";
  EXPECT_EQ(tensors["blocks.4.modulation"].shape, (std::vector<int64_t>{6, 1, 5120}));
  EXPECT_EQ(tensors["patch_embedding.weight"].shape, (std::vector<int64_t>{1, 5121, 1, 2, 2}));
  Weights weights(Checkpoint::names_only(tensors, "a file"));
  WanModel model(weights.root(), kWanT2vA14b, at::kBFloat16);
  try {
    weights.finish();
    FAIL() << "accepted";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("3 of another kind"), std::string::npos) << error.what();
  }
}

/// Scales of a coded kernel: one for each row of its first axis, or none but a factor.
std::shared_ptr<const StoredScales> kernel_scales(int64_t rows) {
  StoredScales scales;
  scales.factor = 0.5f;
  if (rows > 0) scales.blocks = StoredTensor{at::kFloat, {rows, 1}, {1, 1}, nullptr};
  return std::make_shared<StoredScales>(std::move(scales));
}

TEST(Names, AxesAreNotRestoredWhereScalesAreOfTheOnesInTheFile) {
  const std::string name = "patch_embedding.weight";
  StoredTensors file = published_tensors("official_dit_t2v_a14b");
  StoredTensor& kernel = file.at(name);
  const std::vector<int64_t> shape = kernel.shape;
  ASSERT_EQ(shape.size(), 5u);
  kernel.shape = {shape[0] * shape[1], shape[2], shape[3], shape[4]};
  kernel.strides = row_major_strides(kernel.shape);
  kernel.coding = &kernels::coding_of(kernels::Code::E4M3);
  EXPECT_EQ(official(file, Model::TextExpert).at(name).shape, shape);
  kernel.scales = kernel_scales(0);
  EXPECT_EQ(official(file, Model::TextExpert).at(name).shape, shape);
  kernel.scales = kernel_scales(kernel.shape[0]);
  const std::string words = refusal(file, Model::TextExpert);
  EXPECT_NE(words.find(name + "] must have its official axes where it has scales of its parts"), std::string::npos)
      << words;
  EXPECT_NE(words.find("; take a file of another quantisation"), std::string::npos);
}

}  // namespace
}  // namespace wan
