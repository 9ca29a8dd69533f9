// What operations share on one device: choices of attention in use, pinned and taken up again, two Contexts apart. On
// the CPU, with back ends of the test's own.
#include "kernels/op/context.h"

#include <thread>

#include "kernels/attention/int8_attention.h"
#include "tests/kernels/invented_backends.h"

namespace wan::kernels {
namespace {

const std::string kCase = "b1 h2 q64 k64 d8 Float";

class ContextTest : public InventedBackends {
 protected:
  std::unique_ptr<AttentionSelector> selector(std::vector<AttentionBackend> backends) {
    auto chooses = std::make_unique<AttentionSelector>(std::move(backends), "card", timer());
    chooses->set_memory(memory());
    return chooses;
  }
  /// A job with two back ends that differ in their last bits, as those of a GPU do: "low" is the faster one.
  std::unique_ptr<Context> job(Options options = {}) {
    return std::make_unique<Context>(options, at::kCPU,
                                     selector({backend("high", 3, 1 + 1e-6), backend("low", 2, 1 - 1e-6)}));
  }
  Tensor attend(const Context& context) { return attention(q, k, v, 0.3, {}, context); }
  Tensor made_by(double factor) { return reference::attention(q, k, v, 0.3) * factor; }
};

TEST_F(ContextTest, AttentionIsWhatItsSelectorChooses) {
  const auto context = job();
  EXPECT_TRUE(context->choices().empty());
  EXPECT_TRUE(attend(*context).equal(made_by(1 - 1e-6)));
  EXPECT_EQ(context->choices(), (Choices{{kCase, "low"}}));
  const int before = calls["low"];
  attend(default_context());
  EXPECT_EQ(calls["low"], before) << "without a selector attention is ATen's";
}

TEST_F(ContextTest, TwoInOneProcessChooseApart) {
  const auto one = job(), other = job();
  other->pin({{kCase, "high"}});
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(attend(*one).equal(made_by(1 - 1e-6)));
    EXPECT_TRUE(attend(*other).equal(made_by(1 + 1e-6)));
  }
  EXPECT_EQ(one->choices().at(kCase), "low");
  EXPECT_EQ(other->choices().at(kCase), "high");
}

TEST_F(ContextTest, APinnedChoiceIsUsedAndReported) {
  const auto context = job();
  attend(*context);
  context->pin({{kCase, "high"}});
  EXPECT_TRUE(attend(*context).equal(made_by(1 + 1e-6)));
  EXPECT_EQ(context->choices(), (Choices{{kCase, "high"}}));
  EXPECT_EQ(context->attention()->report(), std::vector<std::string>{kCase + ": high (pinned)"});
  EXPECT_THROW(context->pin({{kCase, "unknown"}}), c10::Error);
  EXPECT_TRUE(attend(*context).equal(made_by(1 + 1e-6))) << "a pin that throws changes nothing";
  context->pin({});
  EXPECT_TRUE(attend(*context).equal(made_by(1 - 1e-6)));
}

TEST_F(ContextTest, WhatGoesOnElsewhereComputesTheSameBytes) {
  Choices noted;
  Tensor first;
  {
    const auto begun = job();
    first = attend(*begun);
    noted = begun->choices();
  }
  kept.clear();
  const auto unpinned = job(), resumed = job();
  times["high"] = 1;  // a machine that would choose the other one
  EXPECT_FALSE(attend(*unpinned).equal(first));
  resumed->pin(noted);
  EXPECT_TRUE(attend(*resumed).equal(first));
  EXPECT_EQ(resumed->choices(), noted);
}

TEST_F(ContextTest, AChoiceIsKeptForTheNextProcess) {
  attend(*job());
  EXPECT_EQ(timed, 2);
  const auto next = job();
  times = {{"high", 1}, {"low", 2}};
  EXPECT_TRUE(attend(*next).equal(made_by(1 - 1e-6)));
  EXPECT_EQ(timed, 2);
  EXPECT_EQ(next->attention()->report(), std::vector<std::string>{kCase + ": low (measured before)"});
}

TEST_F(ContextTest, TensorsOfAnotherDeviceAreNotItsSelectors) {
  const Context gpu({}, at::Device(at::kCUDA, 1), selector({backend("low", 2)}));
  EXPECT_EQ(gpu.attention_on(at::kCPU), nullptr);
  EXPECT_EQ(gpu.attention_on(at::Device(at::kCUDA, 0)), nullptr);
  EXPECT_EQ(gpu.attention_on(at::Device(at::kCUDA, 1)), gpu.attention());
  attend(gpu);
  EXPECT_EQ(calls["low"], 0);
  EXPECT_THROW(Context({}, at::kCUDA), c10::Error);
}

TEST_F(ContextTest, GradientsDoNotPassAChosenBackEnd) {
  const auto context = job();
  q.requires_grad_();
  EXPECT_TRUE(attend(*context).requires_grad());
  EXPECT_EQ(calls["low"] + calls["high"], 0);
}

TEST_F(ContextTest, PinnedEightBitsAreThoseOfTheRecord) {
  const Choices none, plain = {{kCase, "low"}}, hopper = {{kEightBits, "wgmma"}};
  for (Wgmma asked : {Wgmma::Off, Wgmma::Measured, Wgmma::On}) {
    const auto context = job({.wgmma = asked});
    EXPECT_EQ(context->wgmma(), asked);
    context->pin(hopper);
    EXPECT_EQ(context->wgmma(), asked == Wgmma::Off ? Wgmma::Off : Wgmma::On);
    context->pin(plain);
    EXPECT_NE(context->wgmma(), Wgmma::On);
    context->pin(none);
    EXPECT_EQ(context->wgmma(), asked);
    EXPECT_FALSE(context->choices().contains(kEightBits)) << "the CPU has no wgmma";
  }
  EXPECT_EQ(default_context().wgmma(), Wgmma::Measured);
}

/// A Context whose 8-bit weights and values have a choice of sums, as on a card with 8-bit floats of its own.
class SumsTest : public ContextTest {
 protected:
  void SetUp() override {
    ContextTest::SetUp();
    q = at::randn({1, 70, 2, 128}).to(at::kBFloat16);
    k = at::randn({1, 130, 2, 128}).to(at::kBFloat16);
    v = (at::randn({1, 130, 2, 128}) + 1).to(at::kBFloat16);
  }
  std::unique_ptr<Context> with_sums(double float_time, double half_time) {
    return std::make_unique<Context>(Options(), at::kCPU, nullptr,
                                     selector({backend(kFloatSums, float_time), backend(kHalfSums, half_time)}));
  }
  Tensor attend8(const Context& context, Values values = Values::Float8, SkipSoftmax* skip = nullptr) {
    return attention_int8(q, k, v, kScale, values, context, skip);
  }
  Tensor made_with(Sums sums, Values values = Values::Float8, SkipSoftmax* skip = nullptr) {
    return reference::attention_int8(quantise_queries(q, kScale * 1.4426950408889634),
                                     quantise_keys(k, k.mean(1, false, at::kFloat)), v, values, sums, skip);
  }
  static constexpr double kScale = 0.0884;
  const std::string kSumsCase = kEightBitSums + std::string("b1 h2 q128 k256 d128 BFloat16");
};

TEST_F(SumsTest, OfEightBitsAreWhatIsMeasured) {
  const auto floats = with_sums(2, 3);
  EXPECT_TRUE(attend8(*floats).equal(made_with(Sums::Float)));
  EXPECT_EQ(floats->choices(), (Choices{{kSumsCase, kFloatSums}}));
  kept.clear();
  const auto halves = with_sums(3, 2);
  EXPECT_TRUE(attend8(*halves).equal(made_with(Sums::Half)));
  EXPECT_FALSE(made_with(Sums::Half).equal(made_with(Sums::Float)));
  EXPECT_EQ(halves->choices(), (Choices{{kSumsCase, kHalfSums}}));
  SkipSoftmax skip(0.5, at::kCPU), again(0.5, at::kCPU);
  EXPECT_TRUE(attend8(*halves, Values::Float8, &skip).equal(made_with(Sums::Half, Values::Float8, &again)));
  EXPECT_EQ(skip.count(), again.count());
}

TEST_F(SumsTest, AreNotAskedForWithoutThem) {
  const auto context = with_sums(3, 2);
  EXPECT_TRUE(attend8(*context, Values::Plain).equal(made_with(Sums::Float, Values::Plain)));
  attention(q, k, v, kScale, {}, *context);
  EXPECT_EQ(timed, 0);
  EXPECT_TRUE(context->choices().empty());
  EXPECT_TRUE(attend8(default_context()).equal(made_with(Sums::Float))) << "no choice: float32";
}

TEST_F(SumsTest, OfARecordArePinned) {
  const auto context = with_sums(3, 2);
  context->pin({{kSumsCase, kFloatSums}});
  EXPECT_TRUE(attend8(*context).equal(made_with(Sums::Float)));
  EXPECT_EQ(timed, 0);
  EXPECT_EQ(context->choices().at(kSumsCase), kFloatSums);
  EXPECT_THROW(context->pin({{kSumsCase, "cudnn"}}), c10::Error);
  EXPECT_TRUE(attend8(*context).equal(made_with(Sums::Float))) << "a pin that throws changes nothing";
  context->pin({});
  EXPECT_TRUE(attend8(*context).equal(made_with(Sums::Half)));
  EXPECT_NO_THROW(job()->pin({{kSumsCase, kHalfSums}})) << "where there is no choice it is float32";
  EXPECT_TRUE(is_of_8_bits(kSumsCase) && is_of_8_bits(kEightBits) && !is_of_8_bits(kCase));
}

TEST_F(ContextTest, ThreadsShareOneChoice) {
  const auto context = job();
  const Tensor want = made_by(1 - 1e-6);
  std::vector<std::thread> threads;
  std::atomic<int> same = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 20; ++j) same += attend(*context).equal(want);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, 80);
  EXPECT_EQ(timed, 2);
}

}  // namespace
}  // namespace wan::kernels
