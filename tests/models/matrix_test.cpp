// Which matrices of a transformer are 8 bits in a lower precision, and that they multiply as such.
#include "models/weights/matrix.h"

#include "models/wan/model.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";

WanModel nano(Precision precision, at::ScalarType compute = at::kFloat, bool mapped = true) {
  Weights weights(Checkpoint::open(kNano), Place{.compute = compute, .precision = precision, .mapped = mapped});
  WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), compute);
  weights.finish();
  return model;
}

TEST(Matrix, OnlyTheBlocksAreEightBits) {
  const WanModel model = nano(Precision::Balanced);
  for (const Linear* linear : {&model.blocks[1].self_attn.qkv.parts[2], &model.blocks[1].self_attn.o,
                               &model.blocks[1].cross_attn.q, &model.blocks[0].cross_attn.k,
                               &model.blocks[5].cross_attn.o, &model.blocks[0].ffn.first, &model.blocks[5].ffn.second})
    EXPECT_TRUE(linear->weight.takes_codes());
  for (const Linear* linear :
       {&model.blocks[0].cross_attn.q, &model.blocks[5].cross_attn.q, &model.text_embedding.first,
        &model.text_embedding.second, &model.time.time_projection, &model.head.head})
    EXPECT_FALSE(linear->weight.takes_codes());
  EXPECT_FALSE(model.blocks[1].self_attn.o.bias.takes_codes());
  EXPECT_FALSE(nano(Precision::Exact).blocks[1].self_attn.o.weight.takes_codes());
}

TEST(Matrix, AMappingStaysOneAndGivesWhatItsRowsGive) {
  at::manual_seed(5);
  const WanModel model = nano(Precision::Balanced), copied = nano(Precision::Balanced, at::kFloat, /*mapped=*/false);
  const Linear &linear = model.blocks[2].ffn.first, &rows = copied.blocks[2].ffn.first;
  ASSERT_TRUE(std::holds_alternative<MadeAtUse>(linear.weight.storage()));
  ASSERT_TRUE(std::holds_alternative<Int8Rows>(rows.weight.storage()));
  const Tensor weight = Checkpoint::open(kNano).map("blocks.2.ffn.0.weight"), x = at::randn({3, 128});
  const Tensor want = kernels::linear_int8(x, kernels::quantise_rows(weight), linear.bias.tensor());
  EXPECT_TRUE(linear(x).equal(want));
  EXPECT_TRUE(rows(x).equal(want));
  EXPECT_GT(relative_rms(want, at::linear(x, weight.to(at::kFloat), linear.bias.tensor())), 1e-3);
}

TEST(Matrix, AResidualTakesTheSameProduct) {
  at::manual_seed(9);
  for (Precision precision : {Precision::Exact, Precision::Balanced})
    for (bool mapped : {true, false}) {
      const WanModel model = nano(precision, at::kFloat, mapped);
      const Linear& linear = model.blocks[2].self_attn.o;
      const Tensor x = at::randn({1, 5, 128}), gate = at::randn({1, 128}), before = at::randn({1, 5, 128});
      Tensor residual = before.clone();
      linear.add_to(residual, x, gate, {5});
      EXPECT_TRUE(is_close(residual, before + gate * linear(x), 1e-5));
    }
}

TEST(Matrix, CodesGiveWhatTheirRowsGive) {
  at::manual_seed(8);
  for (at::ScalarType compute : {at::kFloat, at::kBFloat16})
    for (bool mapped : {true, false}) {
      const WanModel model = nano(Precision::Balanced, compute, mapped);
      const AttentionBlock& block = model.blocks[2];
      const Tensor x = at::randn({2, 5, 128}).to(compute);
      const Operand codes = kernels::quantise_rows(x);
      EXPECT_TRUE(block.cross_attn.q(codes).equal(block.cross_attn.q(x)));
      EXPECT_TRUE(block.ffn(codes).equal(block.ffn(x)));
      EXPECT_EQ(block.ffn(codes).scalar_type(), compute);
      const std::vector<Tensor> got = block.self_attn.qkv(codes), want = block.self_attn.qkv(x);
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(got[i].equal(want[i]));
      EXPECT_THROW(model.blocks[0].cross_attn.q(codes), c10::Error);  // which has kept 16 bits
    }
}

TEST(Matrix, JoinedRowsGiveWhatThePartsGive) {
  at::manual_seed(6);
  const WanModel apart = nano(Precision::Fast), joined = nano(Precision::Fast, at::kFloat, /*mapped=*/false);
  const MergedLinear &parts = apart.blocks[3].self_attn.qkv, &one = joined.blocks[3].self_attn.qkv;
  ASSERT_EQ(parts.parts.size(), 3u);
  ASSERT_EQ(one.parts.size(), 1u);
  const Tensor x = at::randn({2, 5, 128});
  const std::vector<Tensor> want = parts(x), got = one(x);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(got[i].equal(want[i]));
}

TEST(Matrix, ATransformerInEightBitsIsNearTheExactOne) {
  const c10::InferenceMode inference;
  at::manual_seed(7);
  const Tensor latent = at::randn({16, 3, 8, 8}), states = at::randn({9, 64});
  const auto velocity = [&](Precision precision, at::ScalarType compute) {
    const WanModel model = nano(precision, compute);
    Context context = model.context(states);
    return model(latent, model.rope(latent), 700, {&context})[0];
  };
  const Tensor exact = velocity(Precision::Exact, at::kFloat);
  double last = 1e-3;
  for (Precision precision : {Precision::Balanced, Precision::Fast}) {
    const double error = relative_rms(velocity(precision, at::kFloat), exact);
    EXPECT_GT(error, last);
    EXPECT_LT(error, 4e-2);
    EXPECT_LT(relative_rms(velocity(precision, at::kBFloat16), exact), 4e-2);
    last = error;
  }
}

}  // namespace
}  // namespace wan
