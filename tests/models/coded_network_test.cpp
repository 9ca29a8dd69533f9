// Whole networks whose files are in codes, and what they take.
#include <array>

#include "models/umt5/encoder.h"
#include "models/wan/model.h"
#include "models/weights/convert/convert.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

using kernels::Code;

const std::filesystem::path kFolder = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano",
                            kNano = kFolder / "low_noise_model";

Place copied(at::ScalarType compute = at::kFloat, Kept kept = Kept::Stored, Precision precision = Precision::Exact) {
  return {.compute = compute, .precision = precision, .mapped = false, .kept = kept};
}

bool is_block_matrix(const std::string& name) {
  return name.starts_with("blocks.") && name.ends_with(".weight") && name.find("norm") == std::string::npos;
}

Tensor widened(const kernels::CodedMatrix& codes) {
  return kernels::widen(codes, 0, codes.rows(), at::kFloat);
}

/// The nano expert with its blocks' matrices in Q8_0, and the same values in floats.
class CodedNetwork : public testing::Test {
 protected:
  Checkpoint with_values(const std::function<Tensor(const std::string&, const Tensor&)>& of, const std::string& name) {
    std::map<std::string, Tensor> tensors;
    for (const auto& entry : file_.tensors())
      tensors[entry.first] = of(entry.first, file_.map(entry.first)).contiguous();
    write_safetensors(folder_ / name, tensors);
    return Checkpoint::open(folder_ / name);
  }

  static Tensor velocity(const Checkpoint& file, const Place& place) {
    const c10::InferenceMode inference;
    at::manual_seed(41);
    const Tensor latent = at::randn({16, 1, 8, 8}), states = at::randn({5, 64});
    Weights weights(file, place);
    const WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), place.compute);
    weights.finish();
    Context context = model.context(states);
    return model(latent, model.rope(latent), 700, {&context})[0];
  }

  static uint64_t bytes_on(const Checkpoint& file, const Place& place) {
    Weights weights(file, place);
    const WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), place.compute);
    return bytes_of(weights.taken());
  }

  TemporaryFolder folder_;
  const Checkpoint file_ = Checkpoint::open(kNano);
  const Checkpoint coded_ = coded_checkpoint(file_, folder_ / "codes", is_block_matrix,
                                             [](const std::string&, const Tensor& values) { return as_q8_0(values); });
};

TEST_F(CodedNetwork, ComputesWhatItsValuesDo) {
  const Checkpoint values =
      with_values([](const std::string& name,
                     const Tensor& values) { return is_block_matrix(name) ? widened(as_q8_0(values)) : values; },
                  "values.safetensors");
  const Tensor want = velocity(values, {});
  ASSERT_TRUE(want.isfinite().all().item<bool>());
  EXPECT_LT(relative_rms(velocity(coded_, {}), want), 1e-6);
  EXPECT_LT(relative_rms(velocity(coded_, copied()), want), 1e-5);  // joined products: another order of sums
  EXPECT_LT(relative_rms(velocity(coded_, copied(at::kBFloat16)), velocity(values, copied(at::kBFloat16))), 1e-2);
  for (Kept kept : {Kept::Bf16, Kept::Fp8, Kept::Int8})
    EXPECT_LT(relative_rms(velocity(coded_, copied(at::kFloat, kept)), velocity(values, copied(at::kFloat, kept))),
              1e-5);
  const Place balanced = {.precision = Precision::Balanced};
  EXPECT_LT(relative_rms(velocity(coded_, balanced), velocity(values, balanced)), 1e-5);
}

TEST_F(CodedNetwork, IsAsFarFromTheFloatsAsItsCodes) {
  const Tensor exact = velocity(file_, {});
  // A relative change of weights is one of each product; six blocks of four products in a row add up to no more than as
  // many changes of independent directions.
  double worst = 0;
  for (const auto& entry : file_.tensors())
    if (is_block_matrix(entry.first)) {
      const Tensor values = file_.map(entry.first).to(at::kFloat);
      worst = std::max(worst, relative_rms(widened(as_q8_0(values)), values));
    }
  EXPECT_GT(worst, 1e-3);
  EXPECT_LT(worst, 8e-3);
  const double error = relative_rms(velocity(coded_, {}), exact);
  EXPECT_GT(error, worst / 30);
  EXPECT_LT(error, worst * std::sqrt(6 * 4));
}

TEST_F(CodedNetwork, FilesOfEightBitFloatsAloneCompute) {
  const auto all = [](const std::string&, const Tensor& values) { return values.to(at::kFloat8_e4m3fn); };
  const Checkpoint fp8 = with_values(all, "fp8.safetensors");
  const Checkpoint values =
      with_values([&](const std::string& name, const Tensor& values) { return all(name, values).to(at::kFloat); },
                  "values.safetensors");
  for (const Place& place : {Place{}, copied()})
    EXPECT_LT(relative_rms(velocity(fp8, place), velocity(values, place)), 1e-5);
}

/// A file of scaled fp8, and codes with a scale for each row that are made when it is loaded.
TEST_F(CodedNetwork, CodesInE4M3AreMultipliedAsTheyAreWhereAskedFor) {
  convert::convert(file_, Model::TextExpert, convert::Target::Fp8, folder_ / "fp8.safetensors", "", {});
  const Checkpoint fp8 = Checkpoint::open(folder_ / "fp8.safetensors");
  const Tensor exact = velocity(fp8, {});
  const Tensor direct = velocity(fp8, {.precision = Precision::Fp8});
  // Each product is off by 2.6e-2; they add up as those of other directions do.
  EXPECT_GT(relative_rms(direct, exact), 5e-3);
  EXPECT_LT(relative_rms(direct, exact), 5e-2);
  EXPECT_LT(relative_rms(velocity(fp8, copied(at::kFloat, Kept::Stored, Precision::Fp8)), direct), 1e-5);
  // bf16 rounds the rows before they are rounded to E4M3: 3.1e-2, and 3.5e-2 from float32.
  EXPECT_LT(relative_rms(velocity(fp8, copied(at::kBFloat16, Kept::Stored, Precision::Fp8)), exact), 5e-2);
  // Codes made of the floats: 4.1e-2 of them, of which the codes alone are 3.1e-2.
  const Tensor floats = velocity(file_, {});
  const double codes = relative_rms(velocity(file_, {.kept = Kept::Fp8}), floats);
  for (const Place& place :
       {Place{.precision = Precision::Fp8, .kept = Kept::Fp8}, copied(at::kFloat, Kept::Fp8, Precision::Fp8)}) {
    EXPECT_LT(relative_rms(velocity(file_, place), floats), 6e-2);
    EXPECT_GT(relative_rms(velocity(file_, place), floats), 1.1 * codes) << "multiplied as they are";
  }
  // What has no such codes is exact.
  EXPECT_TRUE(velocity(file_, {.precision = Precision::Fp8}).equal(velocity(file_, {})));
  EXPECT_TRUE(velocity(coded_, {.precision = Precision::Fp8}).equal(velocity(coded_, {})));
  EXPECT_EQ(bytes_on(fp8, copied(at::kBFloat16, Kept::Stored, Precision::Fp8)), bytes_on(fp8, copied(at::kBFloat16)));
}

TEST_F(CodedNetwork, TakesThePlannedBytes) {
  const auto check = [&](const Checkpoint& file, const Place& place) {
    const uint64_t planned = bytes_on(file, place.planned());
    EXPECT_EQ(planned, bytes_on(file, place));
    return planned;
  };
  uint64_t codes = 0, scales = 0, elements = 0;
  for (const auto& [name, tensor] : coded_.tensors())
    if (tensor.coding)
      codes += tensor.bytes(), elements += uint64_t(tensor.elements()), scales += 4 * uint64_t(tensor.shape[0]);
  const uint64_t floats = check(file_, copied(at::kBFloat16));
  EXPECT_EQ(check(coded_, copied(at::kBFloat16)), floats - 2 * elements + codes);
  EXPECT_EQ(check(coded_, copied(at::kBFloat16, Kept::Bf16)), floats);
  EXPECT_EQ(check(coded_, {}), 0u);
  // The outer blocks' text queries have another role: they stay as stored.
  const uint64_t queries = 2 * 128 * 128;
  for (Kept kept : {Kept::Fp8, Kept::Int8}) {
    EXPECT_EQ(check(file_, copied(at::kBFloat16, kept)), floats - (elements - queries) + scales - 2 * 128 * 4);
    EXPECT_EQ(check(file_, {.kept = kept}), 0u);
  }
  EXPECT_EQ(check(coded_, copied(at::kBFloat16, Kept::Stored, Precision::Balanced)),
            check(file_, copied(at::kBFloat16, Kept::Stored, Precision::Balanced)) - 2 * queries + queries / 32 * 34);
}

TEST_F(CodedNetwork, ABlockRefilledWithAnotherComputesWhatTheOtherDoes) {
  // Blocks of two codings, as in files of mixed ones.
  const Checkpoint mixed = coded_checkpoint(
      file_, folder_ / "mixed", [](const std::string& name) { return is_block_matrix(name); },
      [](const std::string& name, const Tensor& values) {
        if (!name.starts_with("blocks.3.") || name.find(".v.") == std::string::npos) return as_q8_0(values);
        return random_codes(Code::Q5_0, values.size(0), values.size(1), 1);
      });
  for (const Place& place : {Place{}, copied(), copied(at::kFloat, Kept::Fp8)}) {
    Weights weights(mixed, place), others(mixed, place);
    const WanConfig config = WanConfig::read(kNano / "config.json");
    const WanModel model(weights.root(), config, place.compute), other(others.root(), config, place.compute);
    std::vector<Weight> slot = weights.taken("blocks.1."), third = others.taken("blocks.3.");
    refill(slot, mixed, "blocks.1.", "blocks.3.");
    EXPECT_EQ(bytes_of(slot), bytes_of(third));
    const Tensor x = at::randn({2, 3, 128});
    const auto &a = model.blocks[1], &b = other.blocks[3];
    const std::vector<Tensor> got = a.self_attn.qkv(x), want = b.self_attn.qkv(x);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(got[i].equal(want[i]));
    EXPECT_TRUE(a.ffn(x).equal(b.ffn(x)));
  }
}

TEST(CodedTextEncoder, GivesTheStatesOfItsValues) {
  const TemporaryFolder folder;
  const Checkpoint file = Checkpoint::open(kFolder / "models_t5_umt5-xxl-enc-bf16.pth");
  const auto takes = [&](const std::string& name) {
    const std::vector<int64_t>& shape = file.tensors().at(name).shape;
    return shape.size() == 2 && shape[1] % 32 == 0;
  };
  const Checkpoint coded = coded_checkpoint(file, folder / "codes", takes,
                                            [](const std::string&, const Tensor& values) { return as_q8_0(values); });
  std::map<std::string, Tensor> tensors;
  for (const auto& entry : file.tensors()) {
    const Tensor values = file.map(entry.first).to(at::kFloat);
    tensors[entry.first] = takes(entry.first) ? widened(as_q8_0(values)) : values.contiguous();
  }
  write_safetensors(folder / "values.safetensors", tensors);
  const auto states = [](const Checkpoint& from, const Place& place) {
    const c10::InferenceMode inference;
    Weights weights(from, place);
    const Umt5Encoder encoder(weights.root(), place.compute);
    weights.finish();
    const std::vector<int64_t> ids = {5, 17, 33, 1};
    return encoder(ids);
  };
  const Checkpoint values = Checkpoint::open(folder / "values.safetensors");
  for (const Place& place : {Place{}, copied()})
    EXPECT_LT(relative_rms(states(coded, place), states(values, place)), 1e-5);
}

}  // namespace
}  // namespace wan
