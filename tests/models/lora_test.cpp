#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/description.h"
#include "models/weights/lora/file.h"
#include "models/weights/lora/row_merge.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan::lora {

namespace {

namespace fs = std::filesystem;

using Tensors = std::map<std::string, at::Tensor>;

/// A network of two modules of a block, its modulation and the head.
StoredTensors network() {
  StoredTensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors[name] = {at::kFloat, shape, row_major_strides(shape), nullptr};
  };
  for (const char* module : {"blocks.0.self_attn.q", "blocks.0.cross_attn.o", "blocks.0.ffn.0"}) {
    add(std::string(module) + ".weight", {6, 4});
    add(std::string(module) + ".bias", {6});
  }
  add("blocks.0.norm3.weight", {4});
  add("blocks.0.norm3.bias", {4});
  add("blocks.0.self_attn.norm_q.weight", {4});
  add("blocks.0.modulation", {1, 6, 4});
  add("head.modulation", {1, 2, 4});
  add("head.head.weight", {8, 4});
  add("patch_embedding.weight", {4, 2, 1, 2, 2});
  return tensors;
}

at::Tensor random(std::vector<int64_t> shape) {
  return at::randn(shape);
}

class Lora : public testing::Test {
 protected:
  File open(const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}, bool lax = false) {
    write_safetensors(folder / "x.safetensors", tensors, metadata);
    return File::open(folder / "x.safetensors", network(), {.lax = lax});
  }
  /// The one line that opening is refused with; empty where it is not.
  std::string refusal(const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
    try {
      open(tensors, metadata);
    } catch (const ModelError& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.what();
    }
    return "";
  }
  TemporaryFolder folder;
};

Tensors pair(const std::string& module, int64_t rank = 2, int64_t out = 6, int64_t in = 4) {
  return {{module + ".lora_down.weight", random({rank, in})}, {module + ".lora_up.weight", random({out, rank})}};
}

Tensors with(Tensors tensors, const std::string& name, const at::Tensor& value) {
  tensors[name] = value;
  return tensors;
}

}  // namespace

TEST_F(Lora, FindsModulesInEverySpelling) {
  const std::map<std::string, std::vector<std::string>> spellings = {
      {"blocks.0.self_attn.q.weight",
       {"blocks.0.self_attn.q", "diffusion_model.blocks.0.self_attn.q", "transformer.blocks.0.attn1.to_q",
        "transformer_2.blocks.0.attn1.to_q", "base_model.model.blocks.0.self_attn.q",
        "base_model.model.transformer.blocks.0.attn1.to_q", "lora_unet_blocks_0_self_attn_q",
        "lora_unet__blocks_0_self_attn_q", "lycoris_blocks_0_attn1_to_q"}},
      {"blocks.0.cross_attn.o.weight",
       {"transformer.blocks.0.attn2.to_out.0", "lora_unet_blocks_0_attn2_to_out_0", "pipe.dit.blocks.0.cross_attn.o"}},
      {"blocks.0.ffn.0.weight", {"transformer.blocks.0.ffn.net.0.proj", "lycoris_blocks_0_ffn_net_0_proj"}},
  };
  for (const auto& [tensor, modules] : spellings)
    for (const std::string& module : modules) {
      const File file = open(pair(module));
      ASSERT_EQ(file.differences().size(), 1u) << module;
      EXPECT_EQ(file.differences()[0].tensor, tensor) << module;
    }
}

TEST_F(Lora, PrefixesBeforePrefixesEnd) {
  for (const char* prefixes : {"base_model.model.diffusion_model.", "model.model.model.model."})
    EXPECT_EQ(open(pair(prefixes + std::string("blocks.0.self_attn.q"))).differences().size(), 1u) << prefixes;
  // "model.diffusion_model." may be stripped as one prefix or as two: tried both ways, 64 of them would never end.
  for (const auto& [prefix, count] : {std::pair("model.diffusion_model.", 64), {"model.", 100'000}}) {
    std::string module;
    for (int i = 0; i < count; ++i) module += prefix;
    EXPECT_NE(refusal(pair(module + "blocks.0.self_attn.q")).find("is it a checkpoint"), std::string::npos) << prefix;
  }
}

TEST_F(Lora, AlphaOfAnyTypeIsTheScale) {
  const Tensors two = pair("blocks.0.self_attn.q");
  for (const at::Tensor& alpha :
       {at::tensor(8, at::kLong), at::tensor({8}, at::kInt), at::tensor(8.0).to(at::kBFloat16),
        at::tensor(8.0, at::kDouble), at::tensor(8.0).to(at::kHalf), at::tensor(8, at::kInt).to(at::kUInt16),
        at::tensor(8, at::kInt).to(at::kUInt32), at::tensor(8, at::kInt).to(at::kUInt64),
        at::tensor(8.0).to(at::kFloat8_e5m2)}) {
    const File file = open(with(two, "blocks.0.self_attn.q.alpha", alpha));
    EXPECT_EQ(file.differences()[0].alpha, 8);
    EXPECT_EQ(file.differences()[0].scale, 4);
    const at::Tensor want = two.at("blocks.0.self_attn.q.lora_up.weight")
                                .to(at::kDouble)
                                .matmul(two.at("blocks.0.self_attn.q.lora_down.weight").to(at::kDouble));
    EXPECT_TRUE(at::equal(file.delta(file.differences()[0], 0.5), (want * 2).to(at::kFloat)));
  }
  EXPECT_EQ(open(two).differences()[0].scale, 1);
  EXPECT_FALSE(open(two).differences()[0].alpha);
}

TEST_F(Lora, DiffusersSaysAlphaInItsMetadata) {
  const Tensors two = pair("transformer.blocks.0.attn1.to_q", 4);
  const auto scale = [&](const std::string& json) {
    return open(two, {{"lora_adapter_metadata", json}}).differences()[0].scale;
  };
  EXPECT_EQ(scale(R"({"transformer.lora_alpha": 8})"), 2);
  EXPECT_EQ(scale(R"({"transformer.lora_alpha": 8, "transformer.use_rslora": true})"), 4);
  EXPECT_EQ(scale(R"({"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn1.to_q": 2}})"), 0.5);
  EXPECT_EQ(scale(R"({"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn1.to_k": 2}})"), 2);
  const std::string both = R"({"transformer.alpha_pattern": {)", q = R"("attn1.to_q": 2)", all = R"("to_q": 12)";
  EXPECT_EQ(scale(both + q + ", " + all + "}}"), 0.5);
  EXPECT_EQ(scale(both + all + ", " + q + "}}"), 3) << "the first in the file";
  EXPECT_EQ(scale(both + R"x("attn[12]\\.to_(q|k)": 2}})x"), 0.5);
  const auto said = [&](const std::string& keys) {
    return refusal(two, {{"lora_adapter_metadata", both + keys + "}}"}});
  };
  EXPECT_NE(said(R"("(to_q": 2)").find("must have names of modules in alpha_pattern"), std::string::npos);
  std::string many = R"("x*": 2)";
  for (int i = 1; i < 17; ++i) many += ", \"x*" + std::to_string(i) + "\": 2";
  EXPECT_NE(said(many).find("must have at most 16 regular expressions"), std::string::npos);
  EXPECT_NE(refusal(two, {{"lora_adapter_metadata", "{x}"}}).find("must be JSON"), std::string::npos);
  EXPECT_NE(refusal(two, {{"lora_adapter_metadata", R"({"transformer.lora_alpha": "x"})"}}).find("must have a number"),
            std::string::npos);
}

TEST_F(Lora, EachPartOfAPipelineHasItsOwnAlpha) {
  const std::string json =
      R"({"text_encoder.lora_alpha": 64, "text_encoder.use_rslora": true, "transformer.lora_alpha": 8,
                               "transformer_2.lora_alpha": 2, "transformer_2.alpha_pattern": {"attn1.to_k": 1},
                               "vae.lora_alpha": 5})";
  const auto scale = [&](const std::string& module) {
    return open(pair(module, 4), {{"lora_adapter_metadata", json}}).differences()[0].scale;
  };
  EXPECT_EQ(scale("transformer.blocks.0.attn1.to_q"), 2);
  EXPECT_EQ(scale("transformer_2.blocks.0.attn1.to_q"), 0.5);
  EXPECT_EQ(scale("base_model.model.transformer.blocks.0.attn1.to_q"), 2);
  EXPECT_EQ(scale("diffusion_model.blocks.0.self_attn.q"), 2);
}

TEST_F(Lora, ModulationsAreFoundUnderEverySpellingAndNoUnknownPrefix) {
  const at::Tensor block = random({1, 6, 4}), head = random({1, 2, 4});
  for (const char* key : {"diffusion_model.blocks.0.diff_m", "lora_unet_blocks_0.diff_m", "lora_unet__blocks_0.diff_m",
                          "transformer.blocks.0.scale_shift_table.diff", "blocks.0.modulation.diff"}) {
    const File file = open({{key, block}});
    ASSERT_EQ(file.differences().size(), 1u) << key;
    EXPECT_EQ(file.differences()[0].tensor, "blocks.0.modulation") << key;
    EXPECT_TRUE(file.delta(file.differences()[0], 1).equal(block)) << key;
  }
  for (const char* key : {"lora_unet_head.diff_m", "transformer.scale_shift_table.diff"})
    EXPECT_EQ(open({{key, head}}).differences().at(0).tensor, "head.modulation") << key;
  for (const char* key : {"foo.bar.blocks.0.diff_m", "foo.head.diff_m"})
    EXPECT_NE(refusal({{key, key[4] == 'b' ? block : head}}), "") << key;
}

TEST_F(Lora, DifferencesOfWeightsBiasesNormsAndModulations) {
  const at::Tensor norm = random({4}), bias = random({4}), block = random({1, 6, 4}), head = random({1, 2, 4});
  const File file = open({{"diffusion_model.blocks.0.norm3.w_norm", norm},
                          {"diffusion_model.blocks.0.norm3.b_norm", bias},
                          {"diffusion_model.blocks.0.diff_m", block},
                          {"diffusion_model.head.diff_m", head},
                          {"diffusion_model.blocks.0.self_attn.norm_q.diff", norm}});
  std::map<std::string, at::Tensor> got;
  for (const Difference& difference : file.differences()) got[difference.tensor] = file.delta(difference, 2);
  EXPECT_EQ(got.size(), 5u);
  EXPECT_TRUE(at::equal(got.at("blocks.0.norm3.weight"), norm * 2));
  EXPECT_TRUE(at::equal(got.at("blocks.0.norm3.bias"), bias * 2));
  EXPECT_TRUE(at::equal(got.at("blocks.0.modulation"), block * 2));
  EXPECT_TRUE(at::equal(got.at("head.modulation"), head * 2));
  EXPECT_TRUE(at::equal(got.at("blocks.0.self_attn.norm_q.weight"), norm * 2));
  // An alpha is of factors.
  const at::Tensor whole = random({6, 4});
  const File beside = open({{"blocks.0.self_attn.q.diff", whole}, {"blocks.0.self_attn.q.alpha", at::tensor(8.0)}});
  ASSERT_EQ(beside.differences().size(), 1u);
  EXPECT_TRUE(beside.delta(beside.differences()[0], 1).equal(whole));
}

TEST_F(Lora, AConvolutionIsAMatrixOfItsKernels) {
  const at::Tensor down = random({3, 2, 1, 2, 2}), up = random({4, 3, 1, 1, 1});
  const File file = open({{"patch_embedding.lora_down.weight", down}, {"patch_embedding.lora_up.weight", up}});
  const at::Tensor want = up.view({4, 3}).matmul(down.view({3, 8})).view({4, 2, 1, 2, 2});
  EXPECT_TRUE(at::allclose(file.delta(file.differences()[0], 1), want, 1e-6, 1e-7));
}

TEST_F(Lora, DoraKeepsTheMagnitudesOfRowsOrColumns) {
  const at::Tensor base = random({6, 4});
  for (const bool rows : {true, false}) {
    const at::Tensor magnitude = (rows ? random({6, 1}) : random({1, 4})).abs();
    const File file = open(with(pair("blocks.0.self_attn.q"), "blocks.0.self_attn.q.dora_scale", magnitude));
    const at::Tensor full = file.merged(base, file.differences()[0], 1);
    EXPECT_TRUE(at::allclose(full.norm(2, {rows ? 1 : 0}, true), magnitude, 1e-5));
    EXPECT_TRUE(at::allclose(file.merged(base, file.differences()[0], 0), base, 1e-6));
    EXPECT_THROW(file.delta(file.differences()[0], 1), std::logic_error);
  }
}

// LyCORIS has magnitudes of rows as [out, 1], of columns as [1, in]; on a square weight the count tells neither.
TEST_F(Lora, DorasDirectionIsThatOfItsShape) {
  StoredTensors square;
  square["blocks.0.self_attn.q.weight"] = {at::kFloat, {4, 4}, row_major_strides({4, 4}), nullptr};
  const at::Tensor base = random({4, 4}), magnitude = random({4}).abs() + 0.5;
  for (const auto& [shape, axis] : {std::pair(std::vector<int64_t>{4, 1}, 1), {{4}, 1}, {{1, 4}, 0}}) {
    write_safetensors(folder / "x.safetensors", with(pair("blocks.0.self_attn.q", 2, 4, 4),
                                                     "blocks.0.self_attn.q.dora_scale", magnitude.reshape(shape)));
    const File file = File::open(folder / "x.safetensors", square, {});
    const at::Tensor norms = file.merged(base, file.differences()[0], 1).norm(2, {axis});
    EXPECT_TRUE(at::allclose(norms, magnitude, 1e-5)) << axis << norms << magnitude;
    const RowSource rows = [&](int64_t first, int64_t count) { return base.narrow(0, first, count); };
    const at::Tensor by_rows = base.clone();
    RowMerge(file, file.differences()[0], 1, true, rows).add_to(by_rows, 0);
    EXPECT_TRUE(is_close(by_rows, file.merged(base, file.differences()[0], 1), 1e-6));
  }
}

TEST_F(Lora, LoKrOfAConvolutionHasTheKernelOfItsSecondFactor) {
  const at::Tensor w1 = random({2, 2}), w2 = random({2, 1, 1, 2, 2});
  const File file = open({{"patch_embedding.lokr_w1", w1}, {"patch_embedding.lokr_w2", w2}});
  const at::Tensor want = at::kron(w1.view({2, 2, 1, 1, 1}).to(at::kDouble), w2.to(at::kDouble)).to(at::kFloat);
  EXPECT_TRUE(file.delta(file.differences()[0], 1).equal(want));
  EXPECT_NE(
      refusal({{"patch_embedding.lokr_w1", random({2, 2, 1, 2, 2})}, {"patch_embedding.lokr_w2", random({2, 1})}}), "");
}

TEST_F(Lora, FactorsOfOneByteAreAdded) {
  Tensors two = pair("blocks.0.self_attn.q");
  Tensors wide;
  for (auto& [key, value] : two) {
    value = value.to(at::kFloat8_e4m3fn);
    wide[key] = value.to(at::kFloat);
  }
  const File want = open(wide);
  const at::Tensor delta = want.delta(want.differences()[0], 1);
  const File file = open(two);
  EXPECT_TRUE(file.delta(file.differences()[0], 1).equal(delta));
  file.check_finite(Reading::Whole);
}

TEST_F(Lora, ATwoPartFileIsSplitByItsPrefixes) {
  Tensors tensors = pair("transformer.blocks.0.attn1.to_q", 2);
  for (const auto& [key, value] : pair("transformer_2.blocks.0.attn1.to_q", 3)) tensors[key] = value;
  EXPECT_NE(refusal(tensors).find("has parts for both"), std::string::npos) << refusal(tensors);
  const auto rank = [&](Half half) {
    return File::open(folder / "x.safetensors", network(), {.lax = false, .half = half}).differences().at(0).rank;
  };
  EXPECT_EQ(rank(Half::High), 2);
  EXPECT_EQ(rank(Half::Low), 3);
}

TEST_F(Lora, LoKrWithOneFactorDecomposed) {
  const at::Tensor w1 = random({3, 2}), a = random({2, 1}), b = random({1, 2});
  const File file = open({{"lycoris_blocks_0_self_attn_q.lokr_w1", w1},
                          {"lycoris_blocks_0_self_attn_q.lokr_w2_a", a},
                          {"lycoris_blocks_0_self_attn_q.lokr_w2_b", b},
                          {"lycoris_blocks_0_self_attn_q.alpha", at::tensor(3.0f)}});
  EXPECT_EQ(file.differences()[0].scale, 3);
  const File whole = open({{"lycoris_blocks_0_self_attn_q.lokr_w1", w1},
                           {"lycoris_blocks_0_self_attn_q.lokr_w2", a.matmul(b)},
                           {"lycoris_blocks_0_self_attn_q.alpha", at::tensor(INFINITY).to(at::kHalf)}});
  EXPECT_EQ(whole.differences()[0].scale, 1) << "alpha does not count beside two whole factors";
  EXPECT_TRUE(at::allclose(file.delta(file.differences()[0], 1), at::kron(w1, a.matmul(b)) * 3, 1e-6));
}

TEST_F(Lora, KeysOfWan21AreLeftOutAndOthersRefused) {
  Tensors tensors = pair("diffusion_model.blocks.0.self_attn.q");
  for (const char* key :
       {"diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight", "lora_unet_blocks_0_cross_attn_v_img.alpha",
        "diffusion_model.blocks.0.cross_attn.norm_k_img.diff", "diffusion_model.img_emb.proj.0.diff_b"})
    tensors[key] = random({2, 2});
  EXPECT_EQ(open(tensors).exempt().size(), 4u);
  tensors["diffusion_model.blocks.77.self_attn.q.lora_down.weight"] = random({2, 4});
  EXPECT_NE(refusal(tensors).find("--lora-lax leaves them out"), std::string::npos);
  const File lax = open(tensors, {}, true);
  EXPECT_EQ(lax.unknown(), std::vector<std::string>{"diffusion_model.blocks.77.self_attn.q.lora_down.weight"});
  EXPECT_EQ(lax.differences().size(), 1u);
}

TEST_F(Lora, WhatCannotBeAppliedIsRefusedInOneLine) {
  const Tensors two = pair("blocks.0.self_attn.q");
  const std::string down = "blocks.0.self_attn.q.lora_down.weight", up = "blocks.0.self_attn.q.lora_up.weight",
                    alpha = "blocks.0.self_attn.q.alpha";
  const auto expect = [&](const Tensors& tensors, const std::string& reason) {
    const std::string got = refusal(tensors);
    EXPECT_NE(got.find(reason), std::string::npos) << reason << ": " << got;
  };
  expect({{up, two.at(up)}}, "must come with the other factors");
  expect(with(two, up, random({6, 3})), "must be of rank 2");
  expect(pair("blocks.0.self_attn.q", 2, 3072, 3072), "5B 3072");
  expect({{down, random({0, 4})}, {up, random({6, 0})}}, "has a rank of 0");
  for (const double wrong : {0.0, -1.0, double(NAN), double(INFINITY)})
    expect(with(two, alpha, at::tensor(wrong)), "must have an alpha above 0");
  expect(with(two, alpha, random({2})), "must be one number");
  expect({{alpha, at::tensor(1.0)}}, "is an alpha without factors");
  expect({{"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", random({2, 4})}},
         "changes a text encoder alone, whose LoRAs are not used with Wan 2.2; leave it out");
  expect({{"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", random({2, 4})},
          {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", random({2, 4})}},
         "is one of another network: Flux or HunyuanVideo");
  expect({{"blocks.0.self_attn.q.weight", random({6, 4})}}, "is it a checkpoint");
  expect({}, "must be a LoRA of a Wan 2.2 transformer, holds no tensors; download it again");
  expect(with(two, "blocks.0.self_attn.q.set_weight", random({6, 4})), "replaces a weight");
  expect(with(two, "blocks.0.self_attn.q.lora_mid.weight", random({2, 2})), "core of a convolution");
  expect(with(two, "diffusion_model.blocks.0.self_attn.q.lora_down.weight", random({2, 4})), "says the same as");
  expect(with(two, "blocks.0.self_attn.q.diff", random({6, 4})), "a second time");
  expect(with(two, "blocks.0.self_attn.q.dora_scale", random({5, 1})),
         "a magnitude for each row [6, 1] or column [1, 4]");
  expect(with(two, "blocks.0.self_attn.q.dora_scale", random({4, 1})), "a magnitude for each row");
  expect(with(two, up, random({6, 2, 3})), "must be of rank 2");
  expect({{"diffusion_model.blocks.0.cross_attn.k_img.diff", random({2, 2})}}, "changes nothing in this model");
  expect(pair("transformer.single_transformer_blocks.0.attn.to_q"), "is one of another network: Flux");
  expect({{"patch_embedding.diff", random({5120, 36, 1, 2, 2})}},
         "must change a tensor [4, 2, 1, 2, 2], is for one [5120, 36, 1, 2, 2]");
  expect(with(two, alpha, at::tensor(1e300, at::kDouble)), "whose scale is a float32");
  expect(with(two, down, at::zeros({2, 4}, at::kChar)), "must be of floats (F32, F16, BF16, F8), is of I8");
  expect(with(two, alpha, at::tensor(0.0)), "must have an alpha above 0, has 0;");
  expect(with(two, up, random({5, 2})), "lora_up.weight] must change a tensor [6, 4], is for one [5, 4]");
  expect(with(two, down, random({2, 3})), "lora_down.weight] must change a tensor [6, 4], is for one [6, 3]");
}

TEST_F(Lora, AFaultOfTheFileIsToldBeforeWhatDoesNotFitTheNetwork) {
  const std::string module = "blocks.0.self_attn.q", last = "blocks.0.ffn.0";
  Tensors wide = pair(module, 2, 128, 128);
  wide.merge(pair(last, 2, 256, 128));
  const auto expect = [&](const Tensors& tensors, const std::string& reason) {
    const std::string opened = refusal(tensors);
    EXPECT_NE(opened.find(reason), std::string::npos) << reason << ": " << opened;
    std::string described;
    try {
      lora::describe(folder / "x.safetensors");
    } catch (const ModelError& error) {
      described = error.what();
    }
    EXPECT_NE(described.find(reason), std::string::npos) << reason << ": " << described;
  };
  expect(with(wide, module + ".alpha", at::tensor(0.0)), "must have an alpha above 0, has 0;");
  Tensors half = wide;
  half.erase(module + ".lora_down.weight");
  expect(half, "must come with the other factors");
  Tensors empty = wide;
  empty[module + ".lora_down.weight"] = random({0, 128});
  empty[module + ".lora_up.weight"] = random({128, 0});
  expect(empty, "has a rank of 0");
}

TEST_F(Lora, FactorsThatAreNotFiniteAreRefusedWhenTheyAreUsed) {
  Tensors two = pair("blocks.0.self_attn.q");
  two.at("blocks.0.self_attn.q.lora_up.weight")[1][1] = NAN;
  const File file = open(two);
  EXPECT_THROW(file.delta(file.differences()[0], 1), ModelError);
}

TEST_F(Lora, AFactorOfFloat64FitsIntoFloat32) {
  const std::string up = "blocks.0.self_attn.q.lora_up.weight";
  const auto check = [&](double value) {
    Tensors two = pair("blocks.0.self_attn.q");
    two.at(up) = two.at(up).to(at::kDouble);
    two.at(up)[1][1] = value;
    open(two).check_finite(Reading::Whole);
  };
  EXPECT_THROW(check(1e39), ModelError);
  EXPECT_THROW(check(-1e300), ModelError);
  EXPECT_NO_THROW(check(3e38));
}

TEST_F(Lora, ASampleOfAFactorIsItsFirstFourKibibytes) {
  StoredTensors tall;
  tall["blocks.0.self_attn.q.weight"] = {at::kFloat, {2048, 4}, row_major_strides({2048, 4}), nullptr};
  const std::string up = "blocks.0.self_attn.q.lora_up.weight";
  const auto is_refused = [&](int64_t row, int64_t column, double value, Reading reading) {
    Tensors two = pair("blocks.0.self_attn.q", 2, 2048, 4);
    two.at(up)[row][column] = value;
    write_safetensors(folder / "x.safetensors", two);
    const File file = File::open(folder / "x.safetensors", tall, {});
    try {
      file.check_finite(reading);
    } catch (const ModelError& error) {
      EXPECT_NE(std::string(error.what()).find(up), std::string::npos) << error.what();
      return true;
    }
    return false;
  };
  for (const double value : {double(NAN), double(INFINITY)}) {
    EXPECT_TRUE(is_refused(511, 1, value, Reading::Samples));
    EXPECT_FALSE(is_refused(512, 0, value, Reading::Samples));
    for (const int row : {0, 512, 2047}) EXPECT_TRUE(is_refused(row, 1, value, Reading::Whole)) << row;
  }
  EXPECT_FALSE(is_refused(0, 0, 1, Reading::Whole));
  EXPECT_FALSE(is_refused(0, 0, 1, Reading::Samples));
}

// Row by row it is File::merged, in float64 bit for bit; in float32 within its rounding.
TEST_F(Lora, MergingByRowsIsMergingAtOnce) {
  const fs::path samples = fs::path(WAN_SOURCE_DIR) / "tests/formats/lora";
  const Checkpoint checkpoint = Checkpoint::open(samples / "base.safetensors");
  int merged = 0;
  for (const auto& entry : fs::directory_iterator(samples)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("base.") || name.starts_with("expected")) continue;
    SCOPED_TRACE(name);
    const File file = File::open(entry.path(), checkpoint.tensors(), {.lax = true});
    for (const Difference& difference : file.differences()) {
      const at::Tensor base = checkpoint.map(difference.tensor).to(at::kFloat);
      const at::Tensor want = file.merged(base, difference, 0.7);
      const RowSource rows = [&](int64_t first, int64_t count) {
        return base.narrow(0, first, count).reshape({count, -1});
      };
      for (const bool exact : {true, false}) {
        const RowMerge merge(file, difference, 0.7, exact, rows);
        const at::Tensor got = base.clone();
        for (int64_t first = 0; first < base.size(0); first += 3) {
          const int64_t count = std::min<int64_t>(3, base.size(0) - first);
          merge.add_to(got.narrow(0, first, count).view({count, -1}), first);
        }
        // float32 against float64: relative to the largest value
        EXPECT_TRUE(exact ? got.equal(want) : is_close(got, want, 1e-5))
            << difference.tensor << " " << max_abs_difference(got, want);
        ++merged;
      }
    }
  }
  EXPECT_GE(merged, 26);
}

TEST_F(Lora, DoraOfColumnsIsMergedByRowsToo) {
  const at::Tensor base = random({6, 4}), magnitude = random({1, 4}).abs();
  const File file = open(with(pair("blocks.0.self_attn.q"), "blocks.0.self_attn.q.dora_scale", magnitude));
  const Difference& difference = file.differences()[0];
  const RowSource rows = [&](int64_t first, int64_t count) { return base.narrow(0, first, count); };
  const RowMerge merge(file, difference, 0.5, true, rows);
  const at::Tensor got = base.clone();
  for (const auto& [first, count] : {std::pair(0, 2), {2, 4}}) merge.add_to(got.narrow(0, first, count), first);
  EXPECT_TRUE(is_close(got, file.merged(base, difference, 0.5), 1e-6));
}

TEST_F(Lora, ADescriptionTellsWhatItIsFor) {
  const auto describe = [&](const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(folder / "x.safetensors", tensors, metadata);
    return lora::describe(folder / "x.safetensors");
  };
  Tensors tensors;
  for (const char* module : {"blocks.0.self_attn.q", "blocks.39.cross_attn.o"})
    for (const auto& [key, value] : pair(module, 8, 5120, 5120)) tensors["diffusion_model." + key] = value;
  tensors["diffusion_model.blocks.0.self_attn.q.alpha"] = at::tensor(2, at::kLong);
  tensors["diffusion_model.blocks.3.modulation.diff_m"] = at::zeros({1});  // no module of that name
  tensors["diffusion_model.blocks.3.diff_m"] = at::zeros({1, 6, 5120});
  tensors["diffusion_model.blocks.0.cross_attn.k_img.diff"] = at::zeros({1});
  Description found = describe(tensors);
  EXPECT_EQ(found.target, "Wan 14B transformer (2.2 A14B, 2.1 14B)");
  EXPECT_TRUE(found.applies);
  EXPECT_EQ(found.dialect, "official");
  EXPECT_EQ(found.kinds, (std::map<std::string, int64_t>{{"LoRA", 2}, {"difference of a modulation", 1}}));
  EXPECT_EQ(found.ranks, (std::map<int64_t, int64_t>{{8, 2}}));
  EXPECT_EQ(found.alphas, (std::map<double, int64_t>{{2, 1}}));
  EXPECT_EQ(found.without_alpha, 1);
  EXPECT_EQ(found.scales, (std::map<double, int64_t>{{0.25, 1}, {1, 1}}));
  EXPECT_EQ(found.exempt.size(), 1u);
  EXPECT_EQ(found.unknown, std::vector<std::string>{"diffusion_model.blocks.3.modulation.diff_m"});

  found = describe({{"patch_embedding.diff", at::zeros({5120, 36, 1, 2, 2})}});
  EXPECT_NE(found.target.find("image-to-video"), std::string::npos);
  found = describe(pair("transformer.blocks.0.attn1.to_q", 4, 3072, 3072));
  EXPECT_EQ(found.target, "Wan 2.2 TI2V-5B transformer");
  EXPECT_FALSE(found.applies);
  EXPECT_EQ(found.dialect, "diffusers");
  EXPECT_NE(describe(pair("transformer.single_transformer_blocks.0.attn.to_q")).target.find("(Flux)"),
            std::string::npos);
  EXPECT_EQ(describe(pair("something.else")).target, "a network that is not known");
  EXPECT_EQ(describe(pair("something.else")).unused, "which this program does not run");
  for (const char* module :
       {"lora_te_encoder_block_0_layer_0_SelfAttention_q", "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "text_encoder.encoder.block.0.layer.0.SelfAttention.q"}) {
    found = describe(pair(module));
    EXPECT_EQ(found.target, "a text encoder") << module;
    EXPECT_FALSE(found.applies) << module;
    EXPECT_NE(found.unused.find("not used with Wan 2.2; leave this one out"), std::string::npos) << found.unused;
  }
  Tensors both = pair("lora_te_text_model_encoder_layers_0_mlp_fc1");
  both.merge(pair("lora_unet_down_blocks_0_attentions_0_proj_in"));
  EXPECT_EQ(describe(both).target, "a network of another family (Stable Diffusion)");
  EXPECT_EQ(describe(pair("lora_unet_blocks_0_self_attn_q", 2, 100, 100)).target,
            "Wan transformer of no published size (100 wide)");
  EXPECT_EQ(describe({{"lycoris_blocks_0_self_attn_q.lokr_w1", random({8, 8})},
                      {"lycoris_blocks_0_self_attn_q.lokr_w2_a", random({16, 2})},
                      {"lycoris_blocks_0_self_attn_q.lokr_w2_b", random({2, 16})}})
                .target,
            "Wan transformer of no published size (128 wide)");
  const auto refused = [&](const Tensors& tensors) -> std::string {
    try {
      describe(tensors);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "";
  };
  const std::string uneven = refused(pair("blocks.0.self_attn.q", 2, 100, 90));
  EXPECT_NE(uneven.find("must be as wide as a published model (Wan 2.2 14B is 5120 wide"), std::string::npos) << uneven;
  Tensors small = pair("blocks.0.self_attn.q", 2, 3072, 3072);
  small.merge(pair("blocks.1.self_attn.q", 2, 3072, 3000));
  EXPECT_NE(refused(small).find("must change a tensor [3072, 3072], is for one [3072, 3000]"), std::string::npos)
      << refused(small);

  found = describe(pair("blocks.0.cross_attn.k_img", 2, 128, 128));
  EXPECT_EQ(found.target, "image tokens of Wan 2.1 alone");
  EXPECT_FALSE(found.applies);
  EXPECT_EQ(found.exempt.size(), 2u);
}

TEST_F(Lora, ChangedFilesAreReadOrRefused) {
  std::mt19937 draw(14);
  const fs::path samples = fs::path(WAN_SOURCE_DIR) / "tests/formats/lora";
  const Checkpoint base = Checkpoint::open(samples / "base.safetensors");
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(samples)) files.push_back(content_of(entry.path()));
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string bytes = files[draw() % files.size()];
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    for (int change = 0; change < 3; ++change) bytes[8 + draw() % header] = char("0129.\"{}[]_-ABlw"[draw() % 16]);
    std::ofstream(folder / "x.safetensors", std::ios::binary) << bytes;
    try {
      const File file = File::open(folder / "x.safetensors", base.tensors(), {.lax = true});
      for (const Difference& difference : file.differences()) file.merged(base.map(difference.tensor), difference, 1);
    } catch (const ModelError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 40);
  EXPECT_LT(refused, 400);
}

}  // namespace wan::lora
