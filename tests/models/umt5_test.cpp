// The text encoder: names of the published checkpoint, buckets, padding, ids out of the table.
#include "models/umt5/encoder.h"

#include <cmath>

#include "models/files/error.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

Umt5Encoder nano(at::ScalarType compute) {
  Weights weights(Checkpoint::open(WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/models_t5_umt5-xxl-enc-bf16.pth"));
  Umt5Encoder encoder(weights.root(), compute);
  weights.finish();
  return encoder;
}

TEST(Umt5, UsesEveryNameOfThePublishedCheckpointOnce) {
  Weights weights(Checkpoint::names_only(published_tensors("official_umt5_xxl_encoder"), "umt5"));
  Umt5Encoder encoder(weights.root(), at::kBFloat16);
  EXPECT_EQ(weights.checkpoint().tensors().size(), 242u);
  EXPECT_NO_THROW(weights.finish());
  EXPECT_EQ(encoder.config.layers, 24);
  EXPECT_EQ(encoder.config.heads, 64);
}

TEST(Umt5, FilesThatContradictThemselvesAreRefused) {
  auto build = [](auto change) {
    auto tensors = published_tensors("official_umt5_xxl_encoder");
    change(tensors);
    Weights weights(Checkpoint::names_only(std::move(tensors), "umt5"));
    Umt5Encoder encoder(weights.root(), at::kFloat);
    weights.finish();
  };
  using Tensors = std::map<std::string, StoredTensor>;
  EXPECT_NO_THROW(build([](Tensors&) {}));
  EXPECT_THROW(build([](Tensors& tensors) { tensors.clear(); }), ModelError);
  EXPECT_THROW(build([](Tensors& tensors) {
                 tensors["blocks.0.pos_embedding.embedding.weight"].shape = {32, 63};
               }),
               ModelError);
  EXPECT_THROW(build([](Tensors& tensors) { tensors["blocks.0.pos_embedding.embedding.weight"].shape = {64}; }),
               ModelError);
  EXPECT_THROW(build([](Tensors& tensors) { tensors.erase("blocks.11.norm1.weight"); }), ModelError);
}

TEST(Umt5, BucketsAreExactUpToSevenThenLogarithmic) {
  EXPECT_EQ(umt5_bucket(0), 0);
  for (int64_t distance = 1; distance < 600; ++distance) {
    int64_t want = distance;
    if (distance >= 8)
      want = std::min<int64_t>(15, 8 + int64_t(std::log(float(distance) / 8.0f) / float(std::log(128.0 / 8.0)) * 8.0f));
    EXPECT_EQ(umt5_bucket(-distance), want) << distance;
    EXPECT_EQ(umt5_bucket(distance), want + 16) << distance;
  }
}

TEST(Umt5, BiasRowsBelongToQueries) {
  Umt5Block block = nano(at::kFloat).blocks[1];
  Tensor bias = block.bias(7, 9), table = block.pos_embedding.tensor().to(at::kFloat);
  ASSERT_EQ(bias.sizes(), at::IntArrayRef({table.size(1), 9, 9}));
  for (auto [query, key] : {std::pair{0, 0}, {0, 6}, {8, 1}, {3, 5}})
    EXPECT_TRUE(bias.select(1, query).select(1, key).equal(table[umt5_bucket(key - query)]));
  EXPECT_LT(bias.narrow(2, 7, 2).max().item<float>(), -1e38);
}

TEST(Umt5, PaddingDoesNotReachTheTrueTokens) {
  c10::InferenceMode inference;
  const std::vector<int64_t> ids = {17, 4, 900, 33, 5, 1};
  Umt5Encoder encoder = nano(at::kFloat);
  Tensor alone = encoder(ids), padded = encoder.padded(ids, 40);
  EXPECT_EQ(alone.scalar_type(), at::kFloat);
  EXPECT_EQ(padded.size(0), 40);
  EXPECT_TRUE(is_close(padded.narrow(0, 0, 6), alone, 1e-5));      // float32, other order of sums
  EXPECT_LT(relative_rms(nano(at::kBFloat16)(ids), alone), 2e-2);  // operands of 8 bits, two layers
}

TEST(Umt5, IdsOutsideTheTableAreRefused) {
  Umt5Encoder encoder = nano(at::kFloat);
  EXPECT_NO_THROW(encoder({encoder.config.vocabulary - 1, 1}));
  EXPECT_THROW(encoder({encoder.config.vocabulary, 1}), c10::Error);
  EXPECT_THROW(encoder({-1, 1}), c10::Error);
}

}  // namespace
}  // namespace wan
