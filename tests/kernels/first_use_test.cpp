// The comparison of a kernel with its reference on first use.
#include "kernels/op/first_use.h"

#include "tests/support.h"

namespace wan::kernels {
namespace {

TEST(FirstUse, RowsReachFromTheFirstToTheLast) {
  EXPECT_TRUE(spread_rows(1, at::kCPU).equal(at::zeros({1}, at::kLong)));
  EXPECT_TRUE(spread_rows(5, at::kCPU).equal(at::arange(5)));
  const at::Tensor many = spread_rows(75600, at::kCPU);
  EXPECT_EQ(many.numel(), 16);
  EXPECT_EQ(many[0].item<int64_t>(), 0);
  EXPECT_EQ(many[15].item<int64_t>(), 75599);
}

TEST(FirstUse, OnlyOnceWhereItAgreesAndAgainWhereNot) {
  const Context context;
  int asked = 0;
  const auto right = [&] { return ++asked, at::ones({4}); };
  const auto use = [&](const char* shape, double value) {
    check_first_use(
        "op", shape, at::kCPU, 1e-2, [&] { return at::full({4}, value); }, right, context);
  };
  use("a", 1.001);
  use("a", 2);  // not looked at any more
  EXPECT_EQ(asked, 1);
  EXPECT_THROW(use("b", 1.1), c10::Error);
  EXPECT_THROW(use("b", std::numeric_limits<double>::quiet_NaN()), c10::Error);
  use("b", 1);
  EXPECT_EQ(asked, 4);
}

TEST(FirstUse, AnErrorOfItsOwnNamesItsWayOutAndMayReturnNoValue) {
  const Context context;
  int asked = 0;
  const auto use = [&](std::optional<double> error) {
    check_first_use(
        "op", "own", at::kCPU, 1e-2, [&] { return ++asked, error; }, "take another", context);
  };
  use(std::nullopt);
  try {
    use(0.5);
    ADD_FAILURE() << "0.5 passed";
  } catch (const c10::Error& error) {
    EXPECT_STREQ(error.what_without_backtrace(),
                 "[op own on cpu] must be within 0.01 of its reference, differs by 0.5; take another");
  }
  EXPECT_THROW(use(std::numeric_limits<double>::quiet_NaN()), c10::Error);
  use(1e-3);
  use(0.5);
  EXPECT_EQ(asked, 4);
}

TEST(FirstUse, AKernelOfOursMayNameAnotherWayOut) {
  const Context context;
  const auto ones = [] { return at::ones({4}); };
  const auto halves = [] { return at::full({4}, 0.5); };
  try {
    check_first_use("op", "ours", at::kCPU, 1e-2, halves, ones, context, "leave it out");
    ADD_FAILURE() << "halves passed";
  } catch (const c10::Error& error) {
    EXPECT_STREQ(error.what_without_backtrace(),
                 "[op ours on cpu] must be within 0.01 of its reference, differs by 0.5; leave it out");
  }
}

TEST(FirstUse, EachContextAsksForItself) {
  const Context one, other;
  int asked = 0;
  const auto use = [&](const Context& context) {
    check_first_use(
        "op", "shape", at::kCPU, 1e-2, [&] { return ++asked, std::optional<double>(0); }, "", context);
  };
  use(one);
  use(one);
  EXPECT_EQ(asked, 1);
  use(other);
  EXPECT_EQ(asked, 2);
}

TEST(FirstUse, BrokenInputSaysNothing) {
  const Context context;
  const auto broken = [] { return at::full({4}, std::numeric_limits<double>::infinity()); };
  const auto zeros = [] { return at::zeros({4}); };
  EXPECT_NO_THROW(check_first_use("op", "broken", at::kCPU, 1e-2, broken, broken, context));
  EXPECT_NO_THROW(check_first_use("op", "zeros", at::kCPU, 1e-2, zeros, zeros, context));
  EXPECT_THROW(check_first_use(
                   "op", "not zeros", at::kCPU, 1e-2, [] { return at::ones({4}); }, zeros, context),
               c10::Error);
}

}  // namespace
}  // namespace wan::kernels
