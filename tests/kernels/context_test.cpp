// What operations share on one device: choices of attention in use, pinned and taken up again, two Contexts apart. On
// the CPU, with back ends of the test's own.
#include "kernels/op/context.h"

#include <thread>

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
