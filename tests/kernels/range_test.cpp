// Ranges are nested as calls are, and cost their observer's work alone.
#include "kernels/op/range.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "kernels/attention/attention.h"
#include "kernels/attention/skip_softmax.h"
#include "kernels/convolution/conv3d.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"

namespace wan::kernels {
namespace {

/// "name(...)" for each range, with what it does.
struct Written : RangeObserver {
  Written() : before(observe_ranges(this)) {}
  ~Written() override { observe_ranges(before); }
  void begin(RangeKind kind, const char* name, int64_t number, const RangeWork& done) override {
    text += std::to_string(int(kind)) + name + (number < 0 ? "" : std::to_string(number)) + "(";
    work = done;
  }
  void end() override { text += ")"; }
  RangeObserver* const before;
  std::string text;
  RangeWork work;  // of the last one
};

TEST(Range, NestsAndEndsWithItsScope) {
  Written seen;
  {
    const Range phase(RangeKind::Phase, "decode");
    for (int i = 0; i < 2; ++i) const Range step(RangeKind::Step, "frame", i);
  }
  EXPECT_EQ(seen.text, "0decode(1frame0()1frame1())");
}

TEST(Range, IsSeenByItsOwnThreadAlone) {
  Written seen;
  std::thread([] { const Range other(RangeKind::Phase, "other"); }).join();
  EXPECT_EQ(seen.text, "");
}

TEST(Range, EndsWhereAnExceptionPasses) {
  Written seen;
  EXPECT_ANY_THROW(linear(at::ones({2, 3}), at::ones({4, 5}), Tensor()));
  try {
    const Range phase(RangeKind::Phase, "decode");
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(seen.text, "0decode()");
}

TEST(Range, WorkIsCountedOnlyWhereSomebodyLooks) {
  int asked = 0;
  const auto work = [&] { return RangeWork{.flops = double(++asked)}; };
  { const Range nobody("op", work); }
  EXPECT_EQ(asked, 0);
  Written seen;
  { const Range somebody("op", work); }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(seen.work.flops, 1);
}

TEST(Range, OperationsSayWhatTheyDo) {
  Written seen;
  linear(at::ones({2, 3, 8}), at::ones({16, 8}), Tensor());
  EXPECT_EQ(seen.text, "3linear()");
  EXPECT_EQ(seen.work.flops, 2.0 * 6 * 8 * 16);
  EXPECT_EQ(seen.work.bytes, 4.0 * (6 * 8 + 16 * 8 + 6 * 16));
  EXPECT_STREQ(seen.work.ceiling, "fp32");
  EXPECT_EQ(seen.work.rows, 6);
  EXPECT_EQ(seen.work.in, 8);
  EXPECT_EQ(seen.work.out, 16);

  attention(at::ones({1, 5, 2, 8}), at::ones({1, 7, 2, 8}), at::ones({1, 7, 2, 8}), 1);
  EXPECT_EQ(seen.work.flops, 2.0 * 2 * 5 * 7 * 2 * 8) << "two products";
  EXPECT_EQ(seen.work.bytes, 4.0 * (2 * 5 + 2 * 7) * 2 * 8);

  seen.text.clear();
  SkipSoftmax skip(0.5, at::kCPU);
  attention_skipping(at::ones({1, 5, 2, 8}), at::ones({1, 7, 2, 8}), at::ones({1, 7, 2, 8}), 1, skip);
  EXPECT_EQ(seen.text, "3attention_skipping()");
  EXPECT_EQ(seen.work.flops, 2.0 * 2 * 5 * 7 * 2 * 8) << "as without the rule";

  rms_norm(at::ones({3, 8}, at::kBFloat16), at::ones({8}), 1e-6);
  EXPECT_EQ(seen.work.bytes, 2.0 * 2 * 3 * 8);
  EXPECT_STREQ(seen.work.ceiling, "copy");

  conv3d(at::ones({4, 6, 8, 2}), at::ones({5, 2, 3, 3, 3}), at::zeros({5}));
  EXPECT_EQ(seen.work.flops, 2.0 * (2 * 6 * 8) * (2 * 27) * 5);
}

}  // namespace
}  // namespace wan::kernels
