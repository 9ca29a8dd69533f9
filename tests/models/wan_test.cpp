// The transformer: names of the published checkpoints, hostile configs, what branches share, gradients.
#include "models/wan/model.h"

#include <map>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";

WanModel nano(at::ScalarType compute, bool mapped = true) {
  Weights weights(Checkpoint::open(kNano), Place{.compute = compute, .mapped = mapped});
  WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), compute);
  weights.finish();
  return model;
}

int64_t text_width(const WanModel& model) {
  return model.text_embedding.first.weight.size(1);
}

/// The message of the ModelError that building from `tensors` gives.
std::string complaint(std::map<std::string, StoredTensor> tensors) {
  Weights weights(Checkpoint::names_only(std::move(tensors), "here"));
  WanModel model(weights.root(), kWanT2vA14b, at::kFloat);
  try {
    weights.finish();
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

TEST(WanModel, UsesEveryNameOfThePublishedCheckpointsOnce) {
  for (const auto& [name, config] :
       {std::pair{"official_dit_t2v_a14b", kWanT2vA14b}, {"official_dit_i2v_a14b", kWanI2vA14b}}) {
    Weights weights(Checkpoint::names_only(published_tensors(name), name));
    WanModel model(weights.root(), config, at::kBFloat16);
    EXPECT_EQ(weights.checkpoint().tensors().size(), 1095u);
    EXPECT_NO_THROW(weights.finish());
    EXPECT_TRUE(model.blocks.back().ffn.second.weight.device().is_meta());
  }
}

TEST(WanModel, TellsMissingWrongAndLeftOverTensors) {
  auto tensors = published_tensors("official_dit_t2v_a14b");
  tensors.erase("blocks.7.norm3.bias");
  tensors["blocks.3.ffn.0.weight"].shape = {13824, 5119};
  tensors["img_emb.proj.0.weight"] = tensors["blocks.0.norm3.weight"];
  std::string text = complaint(std::move(tensors));
  for (const char* name : {"blocks.7.norm3.bias", "blocks.3.ffn.0.weight", "img_emb.proj.0.weight"})
    EXPECT_NE(text.find(name), std::string::npos) << text;
}

TEST(WanConfig, RefusesWhatNoTransformerCanHave) {
  const nlohmann::json good = {{"dim", 256},     {"ffn_dim", 320},  {"freq_dim", 256}, {"in_dim", 16}, {"out_dim", 16},
                               {"num_heads", 2}, {"num_layers", 2}, {"text_len", 512}, {"eps", 1e-6}};
  EXPECT_EQ(WanConfig::parse(good, "config.json").head_dim(), 128);
  const std::pair<const char*, nlohmann::json> bad[] = {
      {"dim", 0},          {"dim", -128},    {"dim", "256"},       {"dim", 255},        {"dim", 1e3},
      {"dim", UINT64_MAX}, {"num_heads", 0}, {"num_heads", 256},   {"num_layers", 1e9}, {"num_layers", 100000000},
      {"freq_dim", 255},   {"text_len", 0},  {"ffn_dim", nullptr}, {"eps", "small"},    {"eps", -1},
      {"in_dim", {16}},    {"eps", 2},
  };
  for (const auto& [key, value] : bad) {
    nlohmann::json json = good;
    json[key] = value;
    EXPECT_THROW(WanConfig::parse(json, "config.json"), ModelError) << key << " = " << value;
  }
  for (const auto& [key, value] : good.items()) {
    if (key == "eps") continue;  // has a default
    nlohmann::json json = good;
    json.erase(key);
    EXPECT_THROW(WanConfig::parse(json, "config.json"), ModelError) << "without " << key;
  }
  EXPECT_THROW(WanConfig::parse(nlohmann::json::array(), "config.json"), ModelError);
  EXPECT_THROW(WanConfig::read(kNano / "absent.json"), ModelError);
}

TEST(WanModel, BranchesThatShareABlockGiveWhatEachGivesAlone) {
  c10::InferenceMode inference;
  at::manual_seed(1);
  WanModel model = nano(at::kFloat);
  Tensor latent = at::randn({16, 2, 6, 4}), before = latent.clone();
  Rope rope = model.rope(latent);
  Tensor states = at::randn({2, 9, text_width(model)});
  Context a = model.context(states[0]), b = model.context(states[1]);
  std::vector<Tensor> both = model(latent, rope, 700, {&a, &b});
  Context alone_a = model.context(states[0]), alone_b = model.context(states[1]);
  EXPECT_TRUE(both[0].equal(model(latent, rope, 700, {&alone_a})[0]));
  EXPECT_TRUE(both[1].equal(model(latent, rope, 700, {&alone_b})[0]));
  EXPECT_FALSE(both[0].equal(both[1]));
  // Keys and values are kept for the next step, and nothing else is.
  EXPECT_TRUE(both[0].equal(model(latent, rope, 700, {&a})[0]));
  EXPECT_TRUE(latent.equal(before));
}

TEST(WanModel, HeadsOfEachBlockAreSeenAndNoBitChanges) {
  const c10::InferenceMode inference;
  const WanModel model = nano(at::kFloat);
  at::manual_seed(8);
  const at::Tensor latent = at::randn({16, 2, 4, 4});
  const Rope rope = model.rope(latent);
  Context first = model.context(at::randn({3, text_width(model)}));
  Context second = model.context(at::randn({3, text_width(model)}));
  const auto plain = model(latent, rope, 700, {&first, &second});
  std::map<int64_t, int> seen;
  std::vector<at::Tensor> queries;
  const SeeLayers see = [&](int64_t layer, const at::Tensor& q, const at::Tensor& k) {
    ++seen[layer];
    queries.push_back(q.clone());
    const std::vector<int64_t> want = {1, 8, model.config.num_heads, model.config.head_dim()};
    EXPECT_EQ(q.sizes(), want);
    EXPECT_EQ(k.sizes(), want);
  };
  const auto watched = model(latent, rope, 700, {&first, &second}, nullptr, &see);
  EXPECT_TRUE(watched[0].equal(plain[0]) && watched[1].equal(plain[1]));
  ASSERT_EQ(int64_t(seen.size()), model.config.num_layers);
  for (const auto& [layer, times] : seen) EXPECT_EQ(times, layer == 0 ? 1 : 2) << "the branches share the first";
  EXPECT_FALSE(queries.at(1).equal(queries.at(2))) << "the conditional branch comes first";
}

TEST(WanModel, AResidualThatTheNextBlockAddsChangesNoBit) {
  const c10::InferenceMode inference;
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const WanModel model = nano(compute);
    ASSERT_GE(model.blocks.size(), 2u);
    at::manual_seed(8);
    const at::Tensor latent = at::randn({16, 2, 4, 4});
    const Rope rope = model.rope(latent);
    Context first = model.context(at::randn({3, text_width(model)}));
    Context second = model.context(at::randn({3, text_width(model)}));
    const at::Tensor plain = model.velocities(latent, rope, 700, {&first}, false)[0];
    EXPECT_TRUE(model.velocities(latent, rope, 700, {&first}, true)[0].equal(plain));
    // It is left at all: the block alone gives another x than with what it has left.
    const Pass pass = model.begin(rope, 700);
    std::vector<Branch> branch = {{model.embed(latent), &first}};
    LeftResidual left;
    run_block(model.blocks[0], 0, branch, pass, &left);
    EXPECT_TRUE(left.is_there());
    const at::Tensor before = branch[0].x.clone();
    kernels::gated_residual_(branch[0].x, left.y, left.gate, pass.ends);
    EXPECT_FALSE(branch[0].x.equal(before));
    // With both branches of guidance nothing is left.
    const auto both = model.velocities(latent, rope, 700, {&first, &second}, true);
    EXPECT_TRUE(both[0].equal(model.velocities(latent, rope, 700, {&first, &second}, false)[0]));
    std::vector<Branch> two = {branch[0], branch[0]};
    EXPECT_THROW(run_block(model.blocks[0], 0, two, pass, &left), c10::Error);
  }
}

TEST(WanModel, PatchesAreAConvolutionWhoseStrideIsItsKernel) {
  c10::InferenceMode inference;
  at::manual_seed(2);
  WanModel model = nano(at::kDouble);
  Tensor latent = at::randn({16, 3, 6, 4}, at::kDouble);
  const PatchEmbedding& patch = model.patch_embedding;
  Tensor want = at::conv3d(latent.unsqueeze(0), patch.weight.tensor().to(at::kDouble),
                           patch.bias.tensor().to(at::kDouble), {1, 2, 2});
  EXPECT_TRUE(is_close(model.embed(latent)[0], want[0].flatten(1).t(), 1e-12));
  EXPECT_THROW(model.embed(at::zeros({16, 3, 5, 4})), c10::Error);
  EXPECT_THROW(model.embed(at::zeros({36, 3, 6, 4})), c10::Error);
}

TEST(WanModel, UnpatchifyHasTheChannelFastest) {
  // Token 1 (second column) of a 1 x 2 x 4 grid, patch 1 x 2 x 2, three channels: values 12 to 23.
  Tensor clip = unpatchify(at::arange(24).view({2, 12}), {1, 2, 2}, 1, 2, 4);
  ASSERT_EQ(clip.sizes(), at::IntArrayRef({3, 1, 2, 4}));
  EXPECT_EQ(clip[0][0][0][2].item<int64_t>(), 12);
  EXPECT_EQ(clip[1][0][0][2].item<int64_t>(), 13);
  EXPECT_EQ(clip[0][0][0][3].item<int64_t>(), 15);
  EXPECT_EQ(clip[2][0][1][2].item<int64_t>(), 20);
}

TEST(WanModel, TooLongAPromptIsRefused) {
  WanModel model = nano(at::kFloat);
  EXPECT_NO_THROW(model.context(at::zeros({512, text_width(model)})));
  EXPECT_THROW(model.context(at::zeros({513, text_width(model)})), c10::Error);
  EXPECT_THROW(model.context(at::zeros({5, text_width(model) + 1})), c10::Error);
}

TEST(WanModel, GradientsFollowTheCpuPath) {
  at::manual_seed(3);
  WanModel model = nano(at::kDouble);
  Tensor start = at::randn({16, 1, 4, 4}, at::kDouble), step = at::randn({16, 1, 4, 4}, at::kDouble);
  Tensor states = at::randn({3, text_width(model)}, at::kDouble), weights = at::randn({16, 1, 4, 4}, at::kDouble);
  Rope rope = model.rope(start);
  auto loss = [&](const Tensor& latent) {
    Context context = model.context(states);
    return (model(latent, rope, 500, {&context})[0] * weights).sum();
  };
  Tensor leaf = start.clone().requires_grad_(true);
  loss(leaf).backward();
  double slope = (leaf.grad() * step).sum().item<double>();
  double numeric = (loss(start + 1e-5 * step) - loss(start - 1e-5 * step)).item<double>() / 2e-5;
  EXPECT_NEAR(slope, numeric, 1e-6 * std::abs(numeric) + 1e-6);  // central difference in float64
}

TEST(MergedLinear, OneMatrixGivesWhatItsPartsGive) {
  at::manual_seed(4);
  WanModel apart = nano(at::kDouble), merged = nano(at::kDouble, /*mapped=*/false);
  const MergedLinear &parts = apart.blocks[0].self_attn.qkv, &one = merged.blocks[0].self_attn.qkv;
  ASSERT_EQ(parts.parts.size(), 3u);
  ASSERT_EQ(one.parts.size(), 1u);
  EXPECT_EQ(one.parts[0].weight.shape(), at::IntArrayRef({3 * apart.config.dim, apart.config.dim}));
  Tensor x = at::randn({1, 5, apart.config.dim}, at::kDouble);
  std::vector<Tensor> want = parts(x), got = one(x);
  ASSERT_EQ(want.size(), 3u);
  ASSERT_EQ(got.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(is_close(got[i], want[i], 1e-12));
}

}  // namespace
}  // namespace wan
