// LoRAs beside weights: what a linear multiplies with them, in whatever form its weight lies.
#include "models/weights/lora/attach.h"

#include <gtest/gtest.h>

#include "models/layers.h"
#include "models/weights/branch.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan::lora {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIn = 256, kOut = 136;  // more than the rows of a block of scales
constexpr const char* kNames[] = {"q", "k", "v"};

using Tensors = std::map<std::string, at::Tensor>;

/// Three linears of one input in block 0, its norm and its modulation.
Tensors network() {
  Tensors tensors;
  for (const char* name : kNames) {
    tensors["blocks.0." + std::string(name) + ".weight"] = at::randn({kOut, kIn}) / 16;
    tensors["blocks.0." + std::string(name) + ".bias"] = at::randn({kOut});
  }
  tensors["blocks.0.norm3.weight"] = at::randn({kIn});
  tensors["blocks.0.norm3.bias"] = at::randn({kIn});
  tensors["blocks.0.modulation"] = at::randn({1, 6, kIn});
  return tensors;
}

Tensors low_rank(const std::string& name, int64_t rank, double alpha) {
  const std::string module = "diffusion_model.blocks.0." + name;
  return {{module + ".lora_down.weight", at::randn({rank, kIn}) / 16},
          {module + ".lora_up.weight", at::randn({kOut, rank})},
          {module + ".alpha", at::tensor(alpha)}};
}

/// A LoKr with a whole first factor, and a second one of two matrices.
Tensors lokr(const std::string& name) {
  const std::string module = "diffusion_model.blocks.0." + name;
  return {{module + ".lokr_w1", at::randn({4, 8})},
          {module + ".lokr_w2_a", at::randn({kOut / 4, 2})},
          {module + ".lokr_w2_b", at::randn({2, kIn / 8}) / 16},
          {module + ".alpha", at::tensor(3.0)}};
}

/// A form of the base, and how far a product in it may be from that of the values it stands for.
struct Lie {
  const char* name;
  Place place;
  std::optional<kernels::Code> code = {};  // of the file
  double tolerance = 1e-5;                 // of the branch, relative to the largest: float32 in another order
  bool in_blocks = false;                  // the file has 8-bit floats with a scale for each 128 x 128 of them
};

bool is_matrix(const std::string& name) {
  return name.ends_with(".weight") && !name.ends_with("norm3.weight");
}

/// With matrices as Lie::in_blocks.
Tensors in_blocks(Tensors tensors) {
  Tensors scales;
  for (auto& [name, values] : tensors) {
    if (!is_matrix(name)) continue;
    values = values.to(at::kFloat8_e4m3fn);
    scales[name + "_scale"] = at::rand({(kOut + 127) / 128, kIn / 128}) / 2 + 0.75;
  }
  tensors.merge(scales);
  return tensors;
}

std::vector<Lie> lies() {
  const Place mapped, copied = {.mapped = false}, as_mapped = {.mapped = false, .as_mapped = true};
  const auto with = [](Place place, Precision precision, Kept kept) {
    place.precision = precision;
    place.kept = kept;
    return place;
  };
  return {{"mapped", mapped},
          {"copied and joined", copied},
          {"copied as mapped", as_mapped},
          {"fp8 rows", with(mapped, Precision::Exact, Kept::Fp8)},
          {"int8 rows", with(copied, Precision::Exact, Kept::Int8)},
          {"8-bit products", with(copied, Precision::Balanced, Kept::Stored)},
          {"8-bit products of mapped weights", with(mapped, Precision::Balanced, Kept::Stored)},
          {"Q8_0", mapped, kernels::Code::Q8_0},
          {"Q4_K copied", copied, kernels::Code::Q4_K},
          {"fp8 in blocks", mapped, {}, 1e-5, /*in_blocks=*/true},
          {"fp8 in blocks, copied and joined", copied, {}, 1e-5, /*in_blocks=*/true},
          {"float64", {.compute = at::kDouble, .mapped = false}, {}, 1e-6}};
}

class LoraOnWeights : public testing::Test {
 protected:
  LoraOnWeights() {
    at::manual_seed(5);
    const Tensors tensors = network();
    write_safetensors(folder / "base.safetensors", tensors);
    write_safetensors(folder / "blocks.safetensors", in_blocks(tensors));
  }

  Checkpoint base(const Lie& lie = {"", {}}) {
    const Checkpoint floats = Checkpoint::open(folder / (lie.in_blocks ? "blocks.safetensors" : "base.safetensors"));
    if (!lie.code) return floats;
    const bool q8 = *lie.code == kernels::Code::Q8_0;
    return coded_checkpoint(
        floats, folder / (q8 ? "q8.bin" : "q4.bin"), is_matrix,
        [&](const std::string&, const at::Tensor& values) { return q8 ? as_q8_0(values) : as_q4_k(values); });
  }

  std::shared_ptr<const File> file(const std::string& name, const Tensors& tensors) {
    write_safetensors(folder / name, tensors);
    return std::make_shared<const File>(
        File::open(folder / name, Checkpoint::open(folder / "base.safetensors").tensors(), {}));
  }

  TemporaryFolder folder;
};

/// Three linears of one input as a network has them, and the tensors beside them.
struct Layers {
  explicit Layers(const Checkpoint& checkpoint, const Place& place)
      : weights(checkpoint, place),
        scope(weights.root() / "blocks" / 0),
        merged(scope, {"q", "k", "v"}, kIn, kOut, place.compute, Bias::Yes, Role::Block),
        norm_weight((scope / "norm3").take("weight", {kIn}, Role::Float32)),
        norm_bias((scope / "norm3").take("bias", {kIn}, Role::Float32)),
        modulation(scope.take("modulation", {1, 6, kIn}, Role::Float32)),
        taken(weights.taken()) {}

  std::vector<at::Tensor> operator()(const at::Tensor& x) const { return merged(Operand(x)); }

  Weights weights;
  Scope scope;
  MergedLinear merged;
  Weight norm_weight, norm_bias, modulation;
  std::vector<Weight> taken;
};

void expect_close_to(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  EXPECT_LE((got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(),
            tolerance * want.abs().max().item<double>());
}

TEST_F(LoraOnWeights, ABranchAddsItsProductWhateverTheWeightLiesIn) {
  const auto on_q = file("q.safetensors", low_rank("q", 4, 2)), on_v = file("v.safetensors", lokr("v"));
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    Layers layers(base(lie), lie.place);
    const at::Tensor x = at::randn({3, 5, kIn}).to(lie.place.compute);
    const std::vector<at::Tensor> before = layers(x);
    attach(layers.taken, {{on_q, 0.5}, {on_v, -2}}, base(lie));
    const std::vector<at::Tensor> after = layers(x);
    for (const auto& [i, one, strength] : {std::tuple(0, &on_q, 0.5), {2, &on_v, -2.0}}) {
      const at::Tensor delta = (*one)->delta((*one)->differences().at(0), strength);
      const at::Tensor want = at::linear(x, delta.to(x.scalar_type()));
      EXPECT_GT(want.abs().max().item<double>(), 0.1);
      expect_close_to(after[size_t(i)] - before[size_t(i)], want, lie.tolerance);
    }
    EXPECT_TRUE(after[1].equal(before[1])) << "k has no LoRA";
    detach(layers.taken);
    const std::vector<at::Tensor> again = layers(x);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(again[i].equal(before[i]));
  }
}

TEST_F(LoraOnWeights, AReturnToTheFirstGivesItsBytes) {
  const auto one = file("a.safetensors", low_rank("q", 4, 4)), other = file("b.safetensors", low_rank("q", 2, 4));
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    Layers layers(base(lie), lie.place);
    const at::Tensor x = at::randn({4, kIn}).to(lie.place.compute);
    attach(layers.taken, {{one, 1}}, base(lie));
    const at::Tensor first = layers(x)[0];
    attach(layers.taken, {{other, 1}}, base(lie));
    EXPECT_FALSE(layers(x)[0].equal(first));
    attach(layers.taken, {{one, 1}}, base(lie));
    EXPECT_TRUE(layers(x)[0].equal(first));
  }
}

TEST_F(LoraOnWeights, SeveralOnOneLinearAreOnePassAndHaveNoOrder) {
  const auto one = file("a.safetensors", low_rank("k", 4, 4)), other = file("b.safetensors", low_rank("k", 2, 1));
  Layers layers(base(), Place{});
  const at::Tensor x = at::randn({4, kIn});
  attach(layers.taken, {{one, 1}, {other, 0.25}}, base());
  const Branch& branch = *layers.merged.parts[1].weight.branch();
  EXPECT_EQ(branch.down.size(0), 6);
  EXPECT_EQ(branch.parts.size(), 1u);
  const at::Tensor first = layers(x)[1];
  attach(layers.taken, {{other, 0.25}, {one, 1}}, base());
  EXPECT_TRUE(is_close(layers(x)[1], first, 1e-5 * first.abs().max().item<double>()));
}

// Linears of one input lie as one matrix with one `down`, of whose ranks each takes its own.
TEST_F(LoraOnWeights, EachOfSeveralJoinedLinearsTakesItsOwnRanks) {
  const std::shared_ptr<const File> files[] = {file("q.safetensors", low_rank("q", 4, 2)),
                                               file("k.safetensors", low_rank("k", 2, 3)),
                                               file("v.safetensors", low_rank("v", 3, 1))};
  const std::vector<Adapter> adapters = {{files[0], 1}, {files[1], -0.5}, {files[2], 2}};
  size_t joined = 0;
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    Layers layers(base(lie), lie.place);
    const at::Tensor x = at::randn({3, 5, kIn}).to(lie.place.compute);
    const std::vector<at::Tensor> before = layers(x);
    attach(layers.taken, adapters, base(lie));
    const std::vector<at::Tensor> after = layers(x);
    for (size_t i = 0; i < 3; ++i) {
      SCOPED_TRACE(kNames[i]);
      const at::Tensor delta = files[i]->delta(files[i]->differences().at(0), adapters[i].strength);
      const at::Tensor want = at::linear(x, delta.to(x.scalar_type()));
      EXPECT_GT(want.abs().max().item<double>(), 0.1);
      expect_close_to(after[i] - before[i], want, lie.tolerance);
    }
    if (layers.merged.parts.size() > 1) continue;
    ++joined;
    const Branch& branch = *layers.merged.parts[0].weight.branch();
    EXPECT_EQ(branch.down.size(0), 4 + 2 + 3);
    EXPECT_EQ(branch.parts.size(), 3u);
  }
  EXPECT_GT(joined, 0u);
}

TEST_F(LoraOnWeights, TheActivationAndTheGateComeAfterTheSum) {
  const auto lora = file("a.safetensors", low_rank("q", 4, 4));
  const Checkpoint checkpoint = base();
  for (const Lie& lie : lies()) {
    if (lie.code) continue;
    SCOPED_TRACE(lie.name);
    Weights weights(base(), lie.place);
    const Linear q(weights.root() / "blocks" / 0 / "q", kIn, kOut, lie.place.compute, Bias::Yes, Role::Block);
    std::vector<Weight> taken = weights.taken();
    attach(taken, {{lora, 1}}, checkpoint);
    const at::Tensor x = at::randn({1, 5, kIn}).to(lie.place.compute), y = q(x);
    EXPECT_FALSE(q.weight.takes_codes());
    EXPECT_TRUE(is_close(q(x, Activation::GeluTanh), at::gelu(y, "tanh"), 1e-6));
    const at::ScalarType wide = float32_dtype(lie.place.compute);
    const at::Tensor before = at::randn({1, 5, kOut}).to(wide), gate = at::randn({1, kOut}).to(wide);
    at::Tensor residual = before.clone();
    q.add_to(residual, x, gate, {5});
    EXPECT_TRUE(is_close(residual, before + gate * y, 1e-5));
  }
}

TEST_F(LoraOnWeights, DoraGivesTheProductOfTheMergedWeight) {
  for (const bool by_rows : {true, false}) {
    Tensors tensors = low_rank("q", 4, 4);
    tensors["diffusion_model.blocks.0.q.dora_scale"] = by_rows ? at::rand({kOut, 1}) + 0.5 : at::rand({1, kIn}) + 0.5;
    const auto lora = file(by_rows ? "rows.safetensors" : "columns.safetensors", tensors);
    for (const Lie& lie : lies()) {
      if (lie.place.precision == Precision::Balanced || lie.place.kept != Kept::Stored) continue;
      SCOPED_TRACE(lie.name);
      const Checkpoint checkpoint = base(lie);
      Layers layers(checkpoint, lie.place);
      attach(layers.taken, {{lora, 0.75}}, checkpoint);
      const at::Tensor x = at::randn({4, kIn}).to(lie.place.compute), values = checkpoint.map("blocks.0.q.weight");
      const at::Tensor merged = lora->merged(values, lora->differences().at(0), 0.75);
      const at::Tensor bias = checkpoint.map("blocks.0.q.bias");
      expect_close_to(layers(x)[0], at::linear(x, merged.to(x.scalar_type()), bias.to(x.scalar_type())), 1e-5);
    }
  }
}

// The base is read in tiles of 2^19 values: here 256 rows, then 44.
TEST_F(LoraOnWeights, DoraReadsEachTileOfItsWeight) {
  constexpr int64_t kWide = 2048, kTall = 300;
  const std::string module = "blocks.0.wide", tensor = module + ".weight";
  write_safetensors(folder / "wide.safetensors",
                    {{tensor, at::randn({kTall, kWide}) / 16}, {module + ".bias", at::randn({kTall})}});
  const Checkpoint floats = Checkpoint::open(folder / "wide.safetensors");
  const Checkpoint codes =
      coded_checkpoint(floats, folder / "wide.bin", is_matrix,
                       [](const std::string&, const at::Tensor& values) { return as_q8_0(values); });
  for (const bool by_rows : {true, false}) {
    const fs::path path = folder / (by_rows ? "rows.safetensors" : "columns.safetensors");
    const std::vector<int64_t> sizes = by_rows ? std::vector<int64_t>{kTall, 1} : std::vector<int64_t>{1, kWide};
    write_safetensors(path, {{module + ".lora_down.weight", at::randn({4, kWide}) / 16},
                             {module + ".lora_up.weight", at::randn({kTall, 4})},
                             {module + ".dora_scale", at::rand(sizes) + 0.5}});
    const auto lora = std::make_shared<const File>(File::open(path, floats.tensors(), {}));
    const Difference& difference = lora->differences().at(0);
    for (const Checkpoint* checkpoint : {&floats, &codes}) {
      SCOPED_TRACE(std::string(by_rows ? "rows" : "columns") + (checkpoint == &codes ? " of codes" : " of floats"));
      Weights weights(*checkpoint, Place{});
      const Linear wide(weights.root() / "blocks" / 0 / "wide", kWide, kTall, at::kFloat, Bias::Yes, Role::Block);
      std::vector<Weight> taken = weights.taken();
      attach(taken, {{lora, 0.75}}, *checkpoint);
      const at::Tensor x = at::randn({4, kWide});
      const at::Tensor merged = lora->merged(checkpoint->map(tensor), difference, 0.75);
      expect_close_to(wide(x), at::linear(x, merged, checkpoint->map(module + ".bias")), 1e-5);
    }
  }
}

TEST_F(LoraOnWeights, OtherTensorsGetTheirDifferenceAndGiveItBack) {
  Tensors tensors = {{"diffusion_model.blocks.0.q.diff_b", at::randn({kOut})},
                     {"diffusion_model.blocks.0.norm3.diff", at::randn({kIn})},
                     {"diffusion_model.blocks.0.diff_m", at::randn({1, 6, kIn})}};
  const auto lora = file("a.safetensors", tensors);
  const Checkpoint checkpoint = base();
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    Layers layers(base(lie), lie.place);
    const at::Tensor x = at::zeros({1, kIn}).to(lie.place.compute), before = layers(x)[0].clone();
    attach(layers.taken, {{lora, 2}}, base(lie));
    const auto moved = [&](const char* name, const char* key) { return checkpoint.map(name) + 2 * tensors.at(key); };
    expect_close_to(layers.norm_weight.tensor(), moved("blocks.0.norm3.weight", "diffusion_model.blocks.0.norm3.diff"),
                    1e-6);
    expect_close_to(layers.modulation.tensor(), moved("blocks.0.modulation", "diffusion_model.blocks.0.diff_m"), 1e-6);
    expect_close_to(layers(x)[0][0], moved("blocks.0.q.bias", "diffusion_model.blocks.0.q.diff_b"), 1e-6);
    EXPECT_TRUE(layers.norm_bias.tensor().to(at::kFloat).equal(checkpoint.map("blocks.0.norm3.bias")));
    detach(layers.taken);
    EXPECT_TRUE(layers(x)[0].equal(before));
    EXPECT_TRUE(layers.modulation.tensor().to(at::kFloat).equal(checkpoint.map("blocks.0.modulation")));
  }
}

// Rows for a product in codes come as codes only where every part takes them.
TEST_F(LoraOnWeights, AMergedLinearTakesCodesWhereEachOfItsPartsDoes) {
  Place place;
  place.precision = Precision::Fast;
  for (const char* name : kNames) {
    SCOPED_TRACE(name);
    Layers layers(base(), place);
    ASSERT_EQ(layers.merged.parts.size(), 3u);
    ASSERT_TRUE(layers.merged.takes_codes());
    const auto lora = file(std::string(name) + ".safetensors", low_rank(name, 4, 4));
    attach(layers.taken, {{lora, 1}}, base());
    EXPECT_FALSE(layers.merged.takes_codes());
    layers(at::randn({4, kIn}));
  }
}

TEST_F(LoraOnWeights, WhatTheyTakeIsToldBefore) {
  const auto lora = file("a.safetensors", low_rank("q", 4, 4));
  Layers layers(base(), Place{.compute = at::kBFloat16, .mapped = false});
  attach(layers.taken, {{lora, 1}}, base());
  EXPECT_EQ(layers.merged.parts[0].weight.branch()->bytes(), attached_bytes(*lora, at::kBFloat16));
  EXPECT_EQ(attached_bytes(*lora, at::kBFloat16), uint64_t(4 * (kIn + kOut) * 2));
  EXPECT_EQ(attached_flops({lora}), 2.0 * 4 * (kIn + kOut));

  // What is no linear's weight is kept whole, in float32.
  const auto others = file("others.safetensors", {{"diffusion_model.blocks.0.diff_m", at::randn({1, 6, kIn})},
                                                  {"diffusion_model.blocks.0.norm3.diff", at::randn({kIn})}});
  EXPECT_EQ(attached_bytes(*others, at::kBFloat16), uint64_t(7 * kIn * 4));
  EXPECT_EQ(attached_flops({others}), 0);

  const std::string module = "diffusion_model.blocks.0.q";
  Tensors columns = low_rank("q", 4, 4), both = lokr("q");
  columns[module + ".dora_scale"] = both[module + ".dora_scale"] = at::rand({1, kIn}) + 0.5;
  const Tensors products = {{module + ".hada_w1_a", at::randn({kOut, 2})},
                            {module + ".hada_w1_b", at::randn({2, kIn})},
                            {module + ".hada_w2_a", at::randn({kOut, 3})},
                            {module + ".hada_w2_b", at::randn({3, kIn})}};
  for (const auto& [name, tensors] : {std::pair("columns.safetensors", columns),
                                      {"loha.safetensors", products},
                                      {"lokr.safetensors", lokr("q")},
                                      {"lokr_columns.safetensors", both}}) {
    SCOPED_TRACE(name);
    const auto other = file(name, tensors);
    attach(layers.taken, {{other, 1}}, base());
    const Branch& branch = *layers.merged.parts[0].weight.branch();
    EXPECT_EQ(branch.bytes(), attached_bytes(*other, at::kBFloat16));
    EXPECT_EQ(2 * branch.products(), attached_flops({other}));
    EXPECT_LT(branch.bytes(), uint64_t(kOut * kIn * 2)) << "less than a difference as a whole";
  }
}

// Three linears of one input lie as one matrix: what DoRA multiplies of one is neither kept nor computed of the others.
TEST_F(LoraOnWeights, WhatDoraTakesOfALinearThatLiesBesideOthersIsToldBefore) {
  const auto with = [&](const std::string& file_name, const std::string& linear, at::IntArrayRef shape) {
    Tensors tensors = low_rank(linear, 4, 4);
    tensors["diffusion_model.blocks.0." + linear + ".dora_scale"] = at::rand(shape) + 0.5;
    return file(file_name, tensors);
  };
  const auto rows = with("rows.safetensors", "q", {kOut, 1}), columns = with("columns.safetensors", "q", {1, kIn}),
             of_v = with("v.safetensors", "v", {1, kIn});
  Layers layers(base(), Place{.compute = at::kBFloat16, .mapped = false});
  ASSERT_EQ(layers.merged.parts.size(), 1u);
  const double factors = 4 * (kIn + kOut);
  struct Files {
    std::vector<std::shared_ptr<const File>> all;
    double products;
  };
  for (const auto& [all, products] :
       {Files{{rows}, factors}, {{rows, of_v}, 2 * factors}, {{rows, columns, of_v}, 3 * factors + kOut * kIn}}) {
    SCOPED_TRACE(all.size());
    std::vector<Adapter> adapters;
    uint64_t bytes = 0;
    for (const auto& one : all) {
      adapters.push_back({one, 1});
      bytes += attached_bytes(*one, at::kBFloat16);
    }
    attach(layers.taken, adapters, base());
    const Branch& branch = *layers.merged.parts[0].weight.branch();
    EXPECT_EQ(branch.bytes(), bytes);
    EXPECT_EQ(branch.products(), products);
    EXPECT_EQ(attached_flops(all), 2 * products);
  }
}

// Each form of the base: the product with its columns multiplied is that of rows which are.
TEST_F(LoraOnWeights, DoraByColumnsMultipliesWhatTheWeightMultiplies) {
  std::map<std::string, at::Tensor> magnitudes;  // by the tensors that they are of
  const auto with_columns = [&](const std::string& name, Tensors tensors) {
    const at::Tensor magnitude = at::rand({1, kIn}) + 0.5;
    tensors["diffusion_model.blocks.0." + name + ".dora_scale"] = magnitude;
    magnitudes["blocks.0." + name + ".weight"] = magnitude;
    return file(name + ".safetensors", tensors);
  };
  const std::shared_ptr<const File> files[] = {with_columns("q", low_rank("q", 4, 4)), nullptr,
                                               with_columns("v", lokr("v"))};
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    const Checkpoint checkpoint = base(lie);
    Layers layers(checkpoint, lie.place);
    const at::Tensor x = at::randn({2, 3, kIn}).to(lie.place.compute);
    const at::Tensor none = layers(x)[1];
    std::vector<at::Tensor> want;
    for (int i : {0, 2}) {
      const Difference& difference = files[i]->differences().at(0);
      const at::Tensor values = checkpoint.map(difference.tensor).to(at::kDouble);
      const at::Tensor delta = files[i]->scaled(difference, 0.75), sum = values + delta;
      const at::Tensor factors = (magnitudes.at(difference.tensor) / sum.norm(2, {0}) - 1) * 0.75 + 1;
      EXPECT_GT((factors - 1).abs().max().item<double>(), 0.1);
      const at::Tensor rows = (x.to(at::kDouble) * factors).to(x.scalar_type());
      want.push_back(layers(rows)[size_t(i)] + at::linear(rows.to(at::kDouble), delta).to(x.scalar_type()));
    }
    attach(layers.taken, {{files[0], 0.75}, {files[2], 0.75}}, checkpoint);
    const std::vector<at::Tensor> got = layers(x);
    // In 8-bit products a code of a row may round to the other side: as much as a step of codes, 1/127 of the largest.
    const double tolerance = lie.place.precision == Precision::Balanced ? 1e-2 : 1e-5;
    expect_close_to(got[0], want[0], tolerance);
    expect_close_to(got[2], want[1], tolerance);
    expect_close_to(got[1], none, 1e-5);  // k has no LoRA
  }
}

// Each difference is that from the base, so that W is multiplied with rows + columns - 1.
TEST_F(LoraOnWeights, DoraByRowsAndByColumnsOnOneLinearAddUp) {
  Tensors by_rows = low_rank("k", 4, 4), by_columns = low_rank("k", 3, 2), of_v = low_rank("v", 4, 4);
  by_rows["diffusion_model.blocks.0.k.dora_scale"] = at::rand({kOut, 1}) + 0.5;
  by_columns["diffusion_model.blocks.0.k.dora_scale"] = at::rand({1, kIn}) + 0.5;
  of_v["diffusion_model.blocks.0.v.dora_scale"] = at::rand({1, kIn}) + 0.5;
  const auto rows = file("rows.safetensors", by_rows), columns = file("columns.safetensors", by_columns),
             other = file("v.safetensors", of_v);
  for (const Lie& lie : lies()) {
    if (lie.place.precision == Precision::Balanced || lie.place.kept != Kept::Stored) continue;
    SCOPED_TRACE(lie.name);
    const Checkpoint checkpoint = base(lie);
    const auto linear = [&](const at::Tensor& x, const std::string& name, const at::Tensor& weight) {
      return at::linear(x, weight.to(x.scalar_type()),
                        checkpoint.map("blocks.0." + name + ".bias").to(x.scalar_type()));
    };
    const at::Tensor values = checkpoint.map("blocks.0.k.weight"), values_of_v = checkpoint.map("blocks.0.v.weight");
    const at::Tensor sum = rows->merged(values, rows->differences().at(0), 0.5) +
                           columns->merged(values, columns->differences().at(0), 2) - values;
    Layers layers(checkpoint, lie.place);
    const at::Tensor x = at::randn({4, kIn}).to(lie.place.compute);
    for (const bool turned : {false, true}) {
      std::vector<Adapter> adapters = {{rows, 0.5}, {columns, 2}, {other, 0.75}};
      if (turned) std::swap(adapters[0], adapters[1]);
      attach(layers.taken, adapters, checkpoint);
      const std::vector<at::Tensor> got = layers(x);
      expect_close_to(got[0], linear(x, "q", checkpoint.map("blocks.0.q.weight")), 1e-5);
      expect_close_to(got[1], linear(x, "k", sum), 1e-5);
      expect_close_to(got[2], linear(x, "v", other->merged(values_of_v, other->differences().at(0), 0.75)), 1e-5);
    }
  }
}

TEST_F(LoraOnWeights, WhatDoraMultipliesWithIsKept) {
  Tensors by_rows = low_rank("q", 4, 4), by_columns = low_rank("v", 4, 4);
  by_rows["diffusion_model.blocks.0.q.dora_scale"] = at::rand({kOut, 1}) + 0.5;
  by_columns["diffusion_model.blocks.0.v.dora_scale"] = at::rand({1, kIn}) + 0.5;
  const auto rows = file("rows.safetensors", by_rows), columns = file("columns.safetensors", by_columns);
  Tensors doubled = network();
  for (auto& [name, values] : doubled) values = values * 2;
  write_safetensors(folder / "other.safetensors", doubled);
  const Checkpoint other = Checkpoint::open(folder / "other.safetensors");
  Layers layers(base(), Place{});
  const at::Tensor x = at::randn({4, kIn});
  const auto seen = [&](double strength, const Checkpoint& from, DoraCache* kept) {
    attach(layers.taken, {{rows, strength}, {columns, strength}}, from, {}, kept);
    return at::cat(layers(x), 1);
  };
  DoraCache kept;
  const at::Tensor whole = seen(1, base(), &kept), half = seen(0.5, base(), &kept);
  EXPECT_EQ(kept.bytes(), 2 * uint64_t(kOut + kIn) * sizeof(double));
  EXPECT_TRUE(whole.equal(seen(1, base(), nullptr)));
  EXPECT_FALSE(whole.equal(half));
  // From other weights nothing is made: what is there is of these.
  EXPECT_FALSE(seen(1, other, nullptr).equal(whole));
  EXPECT_TRUE(seen(1, other, &kept).equal(whole));
  EXPECT_TRUE(seen(0.5, other, &kept).equal(half));
  // Another file of the same content is another one.
  const auto again = file("again.safetensors", by_rows);
  attach(layers.taken, {{again, 1}}, base(), {}, &kept);
  EXPECT_EQ(kept.bytes(), uint64_t(3 * kOut + 2 * kIn) * sizeof(double));
}

TEST(DoraCacheTest, KeepsWhatWasUsedLastWithinItsLimit) {
  DoraCache kept(2 * 8 * sizeof(double));
  const auto file = std::make_shared<const File>();
  Difference difference;
  int made = 0;
  const auto get = [&](double strength, int64_t values = 8) {
    return kept.get(file, difference, strength, [&] { return ++made, at::full({values}, strength, at::kDouble); });
  };
  get(1), get(2), get(1);
  EXPECT_EQ(made, 2);
  EXPECT_EQ(get(3)[0].item<double>(), 3);  // 2 goes
  EXPECT_EQ(get(1)[0].item<double>(), 1);
  EXPECT_EQ(made, 3);
  EXPECT_EQ(get(2)[0].item<double>(), 2);
  EXPECT_EQ(made, 4);
  EXPECT_EQ(kept.bytes(), 2 * 8 * sizeof(double));
  get(4, 17);  // larger than all that it keeps
  EXPECT_EQ(kept.bytes(), 2 * 8 * sizeof(double));
  get(2);
  EXPECT_EQ(made, 5);
}

}  // namespace
}  // namespace wan::lora
