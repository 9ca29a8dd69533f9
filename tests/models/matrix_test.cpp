// Which matrices of a transformer are 8 bits in a lower precision, and that they multiply as such.
#include "models/weights/matrix.h"

#include "models/wan/model.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";

WanModel nano(Precision precision, at::ScalarType compute = at::kFloat) {
  Weights weights(Checkpoint::open(kNano), keep_mapped, precision);
  WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), compute);
  weights.finish();
  return model;
}

/// The matrix as it is behind an upload: rows alone.
Matrix placed(Matrix matrix) {
  matrix.rows = kernels::quantise_rows(matrix.weight);
  matrix.weight.reset();
  return matrix;
}

TEST(Matrix, OnlyTheBlocksAreEightBits) {
  const WanModel model = nano(Precision::Balanced);
  for (const Linear* linear : {&model.blocks[1].self_attn.qkv.parts[2], &model.blocks[1].self_attn.o,
                               &model.blocks[1].cross_attn.q, &model.blocks[0].cross_attn.k,
                               &model.blocks[5].cross_attn.o, &model.blocks[0].ffn.first, &model.blocks[5].ffn.second})
    EXPECT_TRUE(linear->matrix.coded);
  for (const Linear* linear :
       {&model.blocks[0].cross_attn.q, &model.blocks[5].cross_attn.q, &model.text_embedding.first,
        &model.text_embedding.second, &model.time.time_projection, &model.head.head})
    EXPECT_FALSE(linear->matrix.coded);
  EXPECT_FALSE(nano(Precision::Exact).blocks[1].self_attn.o.matrix.coded);
  EXPECT_FALSE(is_coded(Role::Block, 192, Precision::Fast));  // no slice of 128
  EXPECT_TRUE(is_coded(Role::Block, 13824, Precision::Fast));
}

TEST(Matrix, AMappingStaysOneAndGivesWhatItsRowsGive) {
  at::manual_seed(5);
  const WanModel model = nano(Precision::Balanced);
  const Linear& linear = model.blocks[2].ffn.first;
  ASSERT_TRUE(linear.matrix.weight.defined());
  EXPECT_FALSE(linear.matrix.rows.codes.defined());
  const Tensor x = at::randn({3, 128});
  const Tensor want = kernels::linear_int8(x, kernels::quantise_rows(linear.matrix.weight), linear.bias);
  EXPECT_TRUE(linear(x).equal(want));
  const Matrix rows = placed(linear.matrix);
  EXPECT_TRUE(rows.is_placed());
  EXPECT_TRUE(rows.product(x, linear.bias, Activation::None, at::kFloat).equal(want));
  EXPECT_GT(relative_rms(want, at::linear(x, linear.matrix.weight.to(at::kFloat), linear.bias)), 1e-3);
}

TEST(Matrix, CodesGiveWhatTheirRowsGive) {
  at::manual_seed(8);
  for (at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const WanModel model = nano(Precision::Balanced, compute);
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
  const WanModel model = nano(Precision::Fast);
  MergedLinear merged = model.blocks[3].self_attn.qkv;
  const Tensor x = at::randn({2, 5, 128});
  const std::vector<Tensor> want = merged(x);
  std::vector<Matrix> parts;
  std::vector<Tensor> biases;
  for (const Linear& part : merged.parts) parts.push_back(placed(part.matrix)), biases.push_back(part.bias);
  merged.matrix.emplace(parts);
  merged.bias = at::cat(biases);
  const std::vector<Tensor> got = merged(x);
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
