// Skip-Softmax: the rule in ATen, and the attention kernels with it, executed through the shim, against it.
#include "kernels/attention/skip_softmax.h"

#include "kernels/attention/int8_attention_sm90.cuh"
#include "kernels/attention/skip_arguments.h"
#include "tests/kernels/int8_heads.h"

namespace wan::kernels {
namespace {

constexpr double kLog2E = 1.4426950408889634;

/// A kernel: 16 bits, or 8-bit queries and keys with 16- or 8-bit values.
struct Way {
  const char* name;
  Instructions instructions;
  bool eight_bit = false;
  Values values = Values::Plain;
  Sums sums = Sums::Float;

  SkipBlock block() const { return skip_block(instructions); }
  /// Of a kernel from the reference of its arithmetic: bfloat16 alone is 1.66e-3 on either side, weights are rounded
  /// under another maximum, in bfloat16 each by up to 2^-9, in e4m3 by up to 2^-4.
  double tolerance() const { return values == Values::Float8 ? 2e-2 : 4e-3; }
};
constexpr Way kWays[] = {{"Mma", Instructions::Mma},
                         {"Wgmma", Instructions::Wgmma},
                         {"Int8Mma", Instructions::Mma, true},
                         {"Int8Wgmma", Instructions::Wgmma, true},
                         {"Float8Mma", Instructions::Mma, true, Values::Float8},
                         {"Float8MmaHalfSums", Instructions::Mma, true, Values::Float8, Sums::Half},
                         {"Float8Wgmma", Instructions::Wgmma, true, Values::Float8}};

QuantisedHeads queries_of(const Heads& x, double scale) {
  return reference::quantise_queries(x.q, scale * kLog2E);
}

/// Not less their mean, so that the tests know the logits.
QuantisedHeads keys_of(const Heads& x) {
  return reference::quantise_keys(x.k, at::zeros({x.k.size(0), x.k.size(2), kWidth}));
}

Tensor run_16(const Way& way, const Heads& x, double scale, SkipSoftmax* skip, simt::Order order) {
  Tensor out = poisoned(x.q.sizes(), x.q.scalar_type());
  AttentionArguments a{};
  a.q = strided_view(x.q);
  a.k = strided_view(x.k);
  a.v = strided_view(x.v);
  a.out = out.data_ptr();
  a.batch = int(x.q.size(0));
  a.heads = int(x.q.size(2));
  a.queries = int(x.q.size(1));
  a.keys = int(x.k.size(1));
  a.scale = float(scale);
  a.skip = skip_arguments(skip, way.instructions, a);
  const simt::HostRunner runner{order};
  EXPECT_EQ(way.instructions == Instructions::Mma
                ? attention_mma::run_attention(a, element_of(x.q), runner)
                : attention_sm90::run_attention_sm90(a, element_of(x.q), simt::sm90::HostMaps{}, runner),
            cudaSuccess);
  return out;
}

Tensor run_8(const Way& way, const Heads& x, double scale, SkipSoftmax* skip, simt::Order order) {
  const QuantisedHeads q = queries_of(x, scale), k = keys_of(x);
  const float largest = float8_range(way.sums).value;
  const bool float8 = way.values == Values::Float8;
  const Tensor codes = float8 ? run_quantise_values(x.v, largest, order) : Tensor();
  const Tensor value_scale = float8 ? value_scales(x.v, largest).scale : Tensor();
  Tensor out = poisoned(x.q.sizes(), x.v.scalar_type());
  Int8AttentionArguments a = arguments_of(q, k, x.v, out);
  if (float8) {
    a.v_codes = codes.const_data_ptr<uint8_t>();
    a.v_scale = floats(value_scale);
  } else {
    a.v = strided_view(x.v);
  }
  a.skip = skip_arguments(skip, way.instructions, a);
  const simt::HostRunner runner{order};
  const Element element = element_of(x.v);
  cudaError_t status;
  if (way.instructions == Instructions::Wgmma)
    status = int8_attention_sm90::run_int8_attention_sm90(a, element, simt::sm90::HostMaps{}, runner);
  else
    status = float8 ? int8_fp8_attention::run_int8_fp8_attention(a, element, way.sums, runner)
                    : int8_attention_mma::run_int8_attention(a, element, runner);
  EXPECT_EQ(status, cudaSuccess);
  return out;
}

/// Through the shim; dense where `skip` is null.
Tensor run(const Way& way, const Heads& x, double scale, SkipSoftmax* skip, simt::Order order = simt::Order::Forward) {
  return way.eight_bit ? run_8(way, x, scale, skip, order) : run_16(way, x, scale, skip, order);
}

/// The same by the reference; in float32 where the kernel has 16 bits.
Tensor simulated(const Way& way, const Heads& x, double scale, SkipSoftmax& skip) {
  if (!way.eight_bit)
    return reference::attention_skipping(x.q.to(at::kFloat), x.k.to(at::kFloat), x.v.to(at::kFloat), scale, skip,
                                         way.block());
  return reference::attention_int8(queries_of(x, scale), keys_of(x), x.v, way.values, way.sums, &skip, way.block());
}

/// Every query meets the logit `peaks[i]` in all keys of tile i, whose values are `values[i]`; the last tile is cut to
/// five keys.
Heads with_peaks(const Way& way, int64_t queries, const std::vector<double>& peaks, const std::vector<double>& values) {
  const int64_t tile = way.block().keys, tiles = int64_t(peaks.size()), keys = (tiles - 1) * tile + 5, heads = 2;
  Heads x{at::zeros({1, queries, heads, kWidth}), at::zeros({1, keys, heads, kWidth}),
          at::zeros({1, keys, heads, kWidth})};
  x.q.select(3, 0).fill_(1);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t count = i + 1 < tiles ? tile : 5;
    x.k.narrow(1, i * tile, count).select(3, 0).fill_(peaks[size_t(i)]);
    x.v.narrow(1, i * tile, count).fill_(values[size_t(i)]);
  }
  return {x.q.to(at::kBFloat16), x.k.to(at::kBFloat16), x.v.to(at::kBFloat16)};
}

int64_t groups_of(const Way& way, int64_t queries) {
  return (queries + way.block().queries - 1) / way.block().queries;
}

class SkipSoftmaxKernel : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Kernels, SkipSoftmaxKernel, testing::ValuesIn(kWays),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(SkipSoftmaxKernel, WhereNothingIsLeftOutTheBitsAreThoseWithoutTheRule) {
  const Heads x = gaussian(1, GetParam().instructions == Instructions::Mma ? 150 : 270, 2);
  SkipSoftmax skip(1e-30, at::kCPU);
  const Tensor with_rule = run(GetParam(), x, kScale, &skip);
  EXPECT_TRUE(with_rule.equal(run(GetParam(), x, kScale, nullptr)));
  EXPECT_EQ(skip.count().skipped, 0);
  EXPECT_EQ(skip.count().all, count_blocks(GetParam().block(), 1, 2, x.q.size(1), x.k.size(1)));
}

TEST_P(SkipSoftmaxKernel, LeavesOutKnownTilesAndCountsThem) {
  // Tiles 1, 3 and 4 lie 1 below the first: below ln 0.5. Were they in, the result would be larger.
  const Heads x = with_peaks(GetParam(), 150, {8, 7, 8, 7, 7}, {1.5, 3, 3, 3, 3});
  const int64_t groups = groups_of(GetParam(), 150);
  EXPECT_FALSE(run(GetParam(), x, 1, nullptr).eq(2.25).any().item<bool>());
  for (simt::Order order : orders_of(GetParam().instructions)) {
    SkipSoftmax skip(0.5, at::kCPU), wanted(0.5, at::kCPU);
    const Tensor out = run(GetParam(), x, 1, &skip, order);
    EXPECT_TRUE(out.eq(2.25).all().item<bool>());
    EXPECT_EQ(max_abs_difference(out, simulated(GetParam(), x, 1, wanted)), 0);
    EXPECT_EQ(skip.count(), (SkippedBlocks{2 * groups * 3, 2 * groups * 5}));
    EXPECT_EQ(wanted.count(), skip.count());
  }
}

TEST_P(SkipSoftmaxKernel, DoesNotLookAtTheValuesOfATileThatAllLeaveOut) {
  if (GetParam().values == Values::Float8) GTEST_SKIP() << "one NaN is one in the scale of its channel";
  const Heads x = with_peaks(GetParam(), 20, {8, 0, 8, 0, 0}, {1.5, NAN, 3, NAN, NAN});
  SkipSoftmax skip(0.01, at::kCPU);
  EXPECT_TRUE(run(GetParam(), x, 1, &skip).eq(2.25).all().item<bool>());
}

TEST_P(SkipSoftmaxKernel, RisingLogitsLeaveNothingOut) {
  const Heads x = with_peaks(GetParam(), 40, {1, 2, 4, 6, 8}, {1, 2, 3, 4, 5});
  SkipSoftmax skip(0.9, at::kCPU);
  EXPECT_TRUE(run(GetParam(), x, 1, &skip).equal(run(GetParam(), x, 1, nullptr)));
  EXPECT_EQ(skip.count().skipped, 0);
}

TEST_P(SkipSoftmaxKernel, OneQueryHoldsItsGroupBack) {
  Heads x = with_peaks(GetParam(), 150, {8, 7, 8, 7, 7}, {1.5, 3, 3, 3, 3});
  // For query 3 tile 1 is the largest, so that 3 and 4 are no smaller than what it has seen.
  x.q[0][3].neg_();
  SkipSoftmax skip(0.5, at::kCPU), wanted(0.5, at::kCPU);
  const Tensor out = run(GetParam(), x, 1, &skip), want = simulated(GetParam(), x, 1, wanted);
  const int64_t groups = groups_of(GetParam(), 150);
  EXPECT_EQ(skip.count(), (SkippedBlocks{2 * (groups - 1) * 3, 2 * groups * 5}));
  EXPECT_EQ(wanted.count(), skip.count());
  EXPECT_LT(relative_rms(out, want), 1e-2);  // one unit of bfloat16, in whole rows of one number
  EXPECT_TRUE(out.narrow(1, 64, 86).eq(2.25).all().item<bool>());
}

TEST_P(SkipSoftmaxKernel, HasTheReferencesCountAndResultOnDrawnHeads) {
  const int64_t tile = GetParam().block().keys;
  for (int64_t queries : {20, 130}) {
    at::manual_seed(queries);
    // Small integers: sums of their products are exact in any order. Some tiles are smaller than others, or nothing.
    const int64_t keys = 5 * tile + 3;
    Tensor k = at::randint(-2, 3, {1, keys, 1, kWidth}, at::kFloat);
    k.narrow(1, tile, tile).zero_();
    k.narrow(1, 3 * tile, tile).mul_(0.5);
    k.narrow(1, 4 * tile, tile).narrow(3, 0, 100).zero_();
    const Heads x{at::randint(-2, 3, {1, queries, 1, kWidth}, at::kFloat).to(at::kBFloat16), k.to(at::kBFloat16),
                  (at::randn({1, keys, 1, kWidth}) + 1).to(at::kBFloat16)};
    for (double lambda : {0.05, 0.5}) {
      SCOPED_TRACE(testing::Message() << queries << " queries, lambda " << lambda);
      SkipSoftmax wanted(lambda, at::kCPU);
      const Tensor want = simulated(GetParam(), x, 0.15, wanted);
      EXPECT_GT(wanted.count().skipped, 0);
      EXPECT_LT(wanted.count().skipped, wanted.count().all);
      for (simt::Order order : orders_of(GetParam().instructions)) {
        if (queries > 64 && order != simt::Order::Forward) continue;  // keeps the quick suite quick
        SkipSoftmax skip(lambda, at::kCPU);
        EXPECT_LT(relative_rms(run(GetParam(), x, 0.15, &skip, order), want), GetParam().tolerance());
        EXPECT_EQ(skip.count(), wanted.count());
      }
    }
  }
}

TEST(SkipSoftmax, TheRuleOnLogitsByHand) {
  // Two rows and two keys a block, a row of the logits a line. The largest in each tile: 4, 1, 9, 2; 4, 3, 5, 1; and
  // of the row that is alone in its group 1, 0, 0, 0.
  const Tensor logits = at::tensor({4., 0., 1., 0., 9.,  0., 2.,  //
                                    4., 4., 3., 0., 0.,  5., 1.,  //
                                    1., 1., 0., 0., -9., 0., 0.})
                            .view({3, 7})
                            .to(at::kFloat);
  const auto left_out = [&](float below) { return reference::blocks_left_out(logits, below, {2, 2}).to(at::kInt); };
  const auto rows = [](std::vector<int64_t> flags) { return at::tensor(flags).view({2, 4}).to(at::kInt); };
  EXPECT_TRUE(left_out(-0.5f).equal(rows({0, 1, 0, 1, 0, 1, 1, 1})));
  EXPECT_TRUE(left_out(-1.0f).equal(rows({0, 0, 0, 1, 0, 0, 0, 0}))) << "by more than |below|, not by as much";
  EXPECT_TRUE(left_out(-4.0f).equal(rows({0, 0, 0, 0, 0, 0, 0, 0})));
}

TEST(SkipSoftmax, GapsAreThoseOfTheNearestRow) {
  const Tensor logits = at::tensor({4., 0., 1., 0., 9.,  0., 2.,  //
                                    4., 4., 3., 0., 0.,  5., 1.,  //
                                    1., 1., 0., 0., -9., 0., 0.})
                            .view({3, 7})
                            .to(at::kFloat);
  const Tensor gaps = reference::block_gaps(logits, {2, 2});
  EXPECT_TRUE(gaps.select(1, 0).eq(INFINITY).all().item<bool>());
  EXPECT_TRUE(gaps.narrow(1, 1, 3).equal(at::tensor({-1., 5., -4., -1., -1., -1.}).view({2, 3}).to(at::kFloat)));
}

TEST(SkipSoftmax, TheErrorIsBoundedByLambda) {
  at::manual_seed(5);
  const SkipBlock block = skip_block(Instructions::Mma);
  Tensor q = at::randn({1, 160, 1, 8}), k = at::randn({1, 1000, 1, 8}), v = at::randn({1, 1000, 1, 8});
  k.narrow(1, 128, 600).mul_(0.3);
  const double scale = 1.5, largest = v.abs().max().item<double>();
  const Tensor dense = reference::attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), scale);
  const Tensor logits = at::matmul(q.transpose(1, 2), k.permute({0, 2, 3, 1})) * (scale * kLog2E);
  int64_t before = 0;
  double moved = 0;
  for (double lambda : {1e-4, 1e-3, 1e-2, 0.1, 0.5}) {
    SkipSoftmax skip(lambda, at::kCPU);
    const Tensor out = reference::attention_skipping(q, k, v, scale, skip, block);
    const Tensor lost = reference::blocks_left_out(logits, skip.below(), block).sum(-1).to(at::kDouble) * block.keys;
    const Tensor bound = (2 * lambda * largest * lost).repeat_interleave(block.queries, -1).view({1, 160, 1, 1});
    const Tensor error = (out.to(at::kDouble) - dense).abs();
    // 1e-4: logits of 50 in float32, values of 4.
    EXPECT_FALSE((error > bound + 1e-4).any().item<bool>()) << lambda;
    EXPECT_GE(skip.count().skipped, before);
    before = skip.count().skipped;
    moved = error.max().item<double>();
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(moved, 1e-3) << "what is left out shows";
}

TEST(SkipSoftmax, OnTheCpuItIsTheReferenceForAnyWidthAndBothPrecisions) {
  at::manual_seed(6);
  const Tensor q = at::randn({2, 50, 3, 8}), k = at::randn({2, 200, 3, 8}), v = at::randn({2, 200, 3, 8});
  SkipSoftmax once(0.4, at::kCPU), again(0.4, at::kCPU);
  const Tensor out = attention_skipping(q, k, v, 2, once);
  EXPECT_EQ(once.count().all, 2 * 3 * 4 * 4);
  EXPECT_GT(once.count().skipped, 0);
  // A head alone has the same bits.
  EXPECT_TRUE(
      out.narrow(2, 1, 1).equal(attention_skipping(q.narrow(2, 1, 1), k.narrow(2, 1, 1), v.narrow(2, 1, 1), 2, again)));
  SkipSoftmax nothing(1e-30, at::kCPU);
  EXPECT_LT(relative_rms(attention_skipping(q, k, v, 2, nothing), reference::attention(q, k, v, 2)), 1e-5);
  EXPECT_EQ(nothing.count().skipped, 0);

  const Heads x = gaussian(1, 300, 2);
  SkipSoftmax none(1e-30, at::kCPU), some(0.5, at::kCPU);
  const Tensor dense = attention_int8(x.q, x.k, x.v, kScale);
  EXPECT_TRUE(attention_int8(x.q, x.k, x.v, kScale, Values::Plain, default_context(), &none).equal(dense));
  EXPECT_EQ(none.count(), (SkippedBlocks{0, 2 * 19 * 5}));
  attention_int8(x.q, x.k, x.v, 20 * kScale, Values::Float8, default_context(), &some);
  EXPECT_EQ(some.count().all, 2 * 19 * 5);
}

TEST(SkipSoftmax, LambdaIsTheWeightBelowWhichATileIsLeftOut) {
  const SkipBlock block = skip_block(Instructions::Mma);
  const Tensor q = at::ones({1, block.queries, 1, 1});
  Tensor k = at::zeros({1, 2 * block.keys, 1, 1});
  const auto skipped = [&](double weight) {  // of each key of the second tile, beside 1 of those of the first
    k.narrow(1, block.keys, block.keys).fill_(std::log(weight));
    SkipSoftmax skip(0.5, at::kCPU);
    reference::attention_skipping(q, k, k, 1, skip, block);
    return skip.count().skipped;
  };
  EXPECT_EQ(skipped(0.55), 0);
  EXPECT_EQ(skipped(0.45), 1);
}

TEST(SkipSoftmax, RefusesOtherLambdas) {
  for (double lambda : {1.0, 0.0, -0.1, 2.0, double(NAN), double(INFINITY)})
    EXPECT_THROW(SkipSoftmax(lambda, at::kCPU), c10::Error) << lambda;
}

TEST(SkipSoftmax, HasAKernelOnlyOnAGpuForTheHeadsItTakes) {
  EXPECT_FALSE(has_skipping_kernel(at::kCPU, 128, at::kBFloat16, default_context()));
  const at::Device gpu(at::kCUDA, 0);
  EXPECT_FALSE(has_skipping_kernel(gpu, 64, at::kBFloat16, default_context()));
  EXPECT_FALSE(has_skipping_kernel(gpu, 128, at::kFloat, default_context()));
  EXPECT_FALSE(has_skipping_kernel(gpu, 128, at::kBFloat16, Context(Options{.reference = true})));
}

}  // namespace
}  // namespace wan::kernels
