// wan-bench skip-softmax: lambda for a wanted share of blocks.
#include "tools/bench/skip_softmax.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"

namespace wan::bench {
namespace {

constexpr kernels::SkipBlock kBlock = {16, 64};

/// Whose keys become smaller from tile to tile, so that most tiles lie below the first.
CapturedHeads fading_heads(int64_t tokens, int64_t heads, uint64_t seed) {
  CapturedHeads drawn = draw_heads(tokens, heads, 4, seed);
  for (int64_t first = kBlock.keys; first < tokens; first += kBlock.keys)
    drawn.k.narrow(1, first, std::min(kBlock.keys, tokens - first)).div_(1 + first / kBlock.keys);
  return drawn;
}

/// What the rule leaves out of all blocks of these heads.
double share_of(const CapturedHeads& heads, double lambda) {
  kernels::SkipSoftmax skip(lambda, at::kCPU);
  kernels::reference::attention_skipping(heads.q, heads.k, heads.v, 1 / std::sqrt(double(heads.q.size(3))), skip,
                                         kBlock);
  return double(skip.count().skipped) / double(skip.count().all);
}

TEST(BenchSkipSoftmax, FindsTheSmallestLambdaForAShare) {
  const CapturedHeads heads = fading_heads(1000, 2, 7);
  const auto found = calibrate({heads}, kBlock, {0.1, 0.3, 0.5}, 1 << 20);
  ASSERT_EQ(found.size(), 3u);
  for (const Calibrated& one : found) {
    SCOPED_TRACE(one.wanted);
    ASSERT_GT(one.lambda, 0);
    EXPECT_GE(one.share, one.wanted);
    EXPECT_LT(one.share, one.wanted + 0.01);
    EXPECT_NEAR(share_of(heads, one.lambda), one.share, 1e-3) << "the attention itself leaves out as much";
    EXPECT_LT(share_of(heads, one.lambda * 0.99), one.share) << "a smaller one leaves out less";
    EXPECT_GT(one.error, 0);
  }
  EXPECT_LT(found[0].lambda, found[2].lambda);
  EXPECT_LT(found[0].error, found[2].error);
}

TEST(BenchSkipSoftmax, SaysTheMostThereCanBe) {
  const CapturedHeads heads = fading_heads(640, 1, 8);
  const Calibrated all = calibrate({heads}, kBlock, {1}, 1 << 20).at(0);
  EXPECT_EQ(all.lambda, 0);
  EXPECT_LE(all.share, 0.9) << "one of ten tiles comes first";
  EXPECT_GT(all.share, 0);
  EXPECT_LT(all.error, 0);
}

TEST(BenchSkipSoftmax, ReadsCapturedHeadsAndRefusesOthers) {
  const TemporaryFolder folder;
  const std::string path = folder / "heads.safetensors";
  const CapturedHeads heads = fading_heads(300, 2, 9);
  write_safetensors(path, {{"q", heads.q.to(at::kBFloat16)}, {"k", heads.k}, {"v", heads.v}});
  const std::vector<CapturedHeads> found = read_heads(path);
  ASSERT_EQ(found.size(), 1u);
  const CapturedHeads& read = found[0];
  EXPECT_TRUE(read.k.equal(heads.k));
  EXPECT_EQ(read.q.scalar_type(), at::kFloat);

  std::stringstream out;
  SkipSoftmaxOptions options;
  options.file = path;
  options.shares = {0.25, 1};
  skip_softmax(options, out);
  std::string line;
  std::getline(out, line);
  const nlohmann::json quarter = nlohmann::json::parse(line);
  EXPECT_EQ(quarter.at("heads_of"), "captured");
  EXPECT_EQ(quarter.at("tokens"), 300);
  EXPECT_EQ(quarter.at("block"), "16 queries by 64 keys");
  EXPECT_GE(quarter.at("share").get<double>(), 0.25);
  EXPECT_LT(quarter.at("lambda").get<double>(), 1);
  std::getline(out, line);
  EXPECT_FALSE(nlohmann::json::parse(line).contains("lambda"));

  at::Tensor broken = heads.q.clone();
  broken[0][5][1][3] = NAN;
  const std::vector<std::map<std::string, at::Tensor>> others = {
      {{"q", heads.q}},
      {{"k", heads.k}},
      {{"a.q", heads.q}, {"b.k", heads.k}},
      {{"q", heads.q[0]}, {"k", heads.k}},
      {{"q", broken}, {"k", heads.k}},
      {{"q", heads.q}, {"k", heads.k.narrow(2, 0, 1).contiguous()}},
      {{"q", heads.q}, {"k", heads.k}, {"v", heads.v.narrow(1, 0, 5).contiguous()}}};
  for (const auto& tensors : others) {
    write_safetensors(path, tensors);
    EXPECT_THROW(read_heads(path), std::invalid_argument);
  }
  EXPECT_THROW(read_heads(folder / "absent.safetensors"), ModelError);
}

TEST(BenchSkipSoftmax, SeveralAttentionsOfARenderAreOneCalibration) {
  const TemporaryFolder folder;
  const std::string path = folder / "render.safetensors";
  // Some groups of queries of one that fades, and all of one whose tiles are alike.
  const CapturedHeads fading = fading_heads(640, 1, 9), even = draw_heads(640, 1, 1, 10);
  const at::Tensor some = fading.q.narrow(1, 0, 64).contiguous();
  write_safetensors(path, {{"step010.block00.q", some},
                           {"step010.block00.k", fading.k},
                           {"step010.block05.q", even.q},
                           {"step010.block05.k", even.k}});
  const std::vector<CapturedHeads> read = read_heads(path);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_TRUE(read[0].q.equal(some) && read[0].k.equal(fading.k) && read[1].q.equal(even.q));
  const Calibrated both = calibrate(read, kBlock, {0.2}, 1 << 20).at(0);
  EXPECT_GE(both.share, 0.2);
  EXPECT_LT(both.share, 0.22);
  EXPECT_LT(both.error, 0) << "there are no values";
  const double alone = calibrate({read[0]}, kBlock, {0.2}, 1 << 20).at(0).lambda;
  EXPECT_GT(both.lambda, alone) << "the even one has less to leave out";

  std::stringstream out;
  SkipSoftmaxOptions options;
  options.file = path;
  options.shares = {0.2};
  skip_softmax(options, out);
  EXPECT_EQ(nlohmann::json::parse(out.str()).at("attentions"), 2);
}

}  // namespace
}  // namespace wan::bench
