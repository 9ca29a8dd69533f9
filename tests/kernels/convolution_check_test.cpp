// The comparison of a library's convolution with the reference: which input a tile needs, what is caught, what is not.
#include "kernels/convolution/convolution_check.h"

#include "kernels/convolution/conv3d.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

/// One operation with its weights, in float64 until `to`.
struct Operation {
  std::string name;
  Tensor taps, bias;
  int64_t time_stride = 1;

  Operation to(at::ScalarType dtype) const { return {name, taps.to(dtype), bias.to(dtype), time_stride}; }
  Convolution described() const {
    return name == "down" ? described_down(taps, bias)
           : name == "up" ? described_up(taps, bias)
                          : described_conv3d(taps, bias, time_stride);
  }
  Tensor operator()(const Tensor& x) const {
    return name == "down" ? conv2d_down(x, taps, bias)
           : name == "up" ? conv2d_up(x, taps, bias)
                          : conv3d(x, taps, bias, time_stride);
  }
};

constexpr int64_t kIn = 5, kOut = 4;

Operation operation(const std::string& name, std::vector<int64_t> kernel, int64_t time_stride = 1) {
  std::vector<int64_t> shape = {kOut, kIn};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  const Tensor weight = at::randn(shape, at::kDouble), bias = at::randn({kOut}, at::kDouble);
  return {name, name == "up" ? fold_nearest2x(weight) : weight, bias, time_stride};
}

std::vector<Operation> operations() {
  at::manual_seed(5);
  return {operation("3x3x3", {3, 3, 3}),
          operation("1x3x3", {1, 3, 3}),
          operation("3x1x1", {3, 1, 1}),
          operation("1x1x1", {1, 1, 1}),
          operation("down", {3, 3}),
          operation("up", {3, 3}),
          operation("3x1x1 by two", {3, 1, 1}, 2),
          operation("1x1x1 by two", {1, 1, 1}, 2)};
}

/// Odd and even, below the size of a tile and above it.
const std::vector<int64_t> kSizes[] = {{3, 2, 2}, {4, 5, 7}, {7, 21, 18}, {5, 40, 33}};

Tensor draw(const std::vector<int64_t>& size) {
  return at::randn({size[0], size[1], size[2], kIn}, at::kDouble);
}

TEST(ConvolutionCheck, APartGivesTheOutputsThatNeedIt) {
  for (const Operation& op : operations()) {
    for (const std::vector<int64_t>& size : kSizes) {
      const Tensor x = draw(size), y = op(x);
      const Convolution convolution = op.described();
      for (int64_t axis = 0; axis < 3; ++axis) {
        for (int64_t first = 0; first < y.size(axis); ++first) {
          for (int64_t count : {int64_t(1), int64_t(2), y.size(axis) - first}) {
            if (first + count > y.size(axis)) continue;
            const AxisPart part = needed_part(convolution.axes[axis], x.size(axis), first, count);
            const Tensor got = convolution.reference(x.narrow(axis, part.first, part.count));
            // float64 sums in another order
            EXPECT_TRUE(is_close(got.narrow(axis, part.skipped, count), y.narrow(axis, first, count), 1e-11))
                << op.name << " " << at::IntArrayRef(size) << " axis " << axis << ": " << count << " from " << first;
            EXPECT_LE(part.count, 2 * count + 2) << "no more than the receptive field";
          }
        }
      }
    }
  }
}

TEST(ConvolutionCheck, ARightOnePassesAndEachWrongOneDoesNot) {
  for (at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    for (const Operation& op : operations()) {
      const Operation narrow = op.to(dtype);
      const Convolution convolution = narrow.described();
      for (const std::vector<int64_t>& size : kSizes) {
        SCOPED_TRACE(testing::Message() << op.name << " " << dtype << " " << at::IntArrayRef(size));
        const Tensor x = draw(size).to(dtype), y = narrow(x);
        const std::optional<double> error = tile_error(convolution, x, y);
        ASSERT_TRUE(error);
        EXPECT_LT(*error, dtype == at::kHalf ? 6e-4 : 5e-3);  // one rounding, of few elements perhaps by half a unit
        const auto caught = [&](const Tensor& wrong) {
          return tile_error(convolution, x, wrong).value_or(0) > kConvolutionBound;
        };
        // Offsets that no longer fit spoil the end; a wrong stride all but the first pixels.
        Tensor wrong = y.clone();
        const Tensor typical = y.to(at::kFloat).square().mean().sqrt();
        wrong.flatten(0, 2).narrow(0, y.numel() / kOut - 1, 1).add_(typical);
        EXPECT_TRUE(caught(wrong)) << "the last pixel";
        wrong = y.clone();
        wrong.flatten(0, 2).narrow(0, 0, 1).add_(typical);
        EXPECT_TRUE(caught(wrong)) << "the first pixel";
        wrong = y.clone();
        wrong.flatten().slice(0, y.numel() / 2).zero_();
        EXPECT_TRUE(caught(wrong)) << "the second half";
        EXPECT_TRUE(y.size(2) == 1 || caught(y.roll(1, 2))) << "moved by a pixel";
        EXPECT_TRUE(caught(y - narrow.bias)) << "without bias";
        EXPECT_TRUE(caught(y.flip(3))) << "channels in another order";
        wrong = y.clone();
        wrong[-1][-1][-1][-1] = NAN;
        EXPECT_TRUE(caught(wrong)) << "NaN";
      }
    }
  }
}

TEST(ConvolutionCheck, AnErrorInTheMiddleOfALargeClipIsSeen) {
  const Operation op = operation("3x3x3", {3, 3, 3}).to(at::kHalf);
  const Tensor x = draw({10, 41, 39}).to(at::kHalf), y = op(x);
  Tensor wrong = y.clone();
  wrong.slice(0, 3, 5).slice(1, 18, 22).slice(2, 18, 22).zero_();
  EXPECT_GT(tile_error(op.described(), x, wrong).value_or(0), kConvolutionBound);
}

TEST(ConvolutionCheck, AClipThatLeavesTheRangeSaysNothing) {
  Operation op = operation("3x3x3", {3, 3, 3}).to(at::kHalf);
  const std::vector<int64_t> size = {4, 9, 9};
  Tensor x = draw(size).to(at::kHalf);
  const Tensor y = op(x);
  x[2][4][4][1] = INFINITY;  // the layer before overflowed, far from the first tile
  EXPECT_FALSE(tile_error(op.described(), x, op(x)));
  x[2][4][4][1] = NAN;
  EXPECT_FALSE(tile_error(op.described(), x, op(x)));
  // A result beyond half's range is Inf in the library's output, and finite in the reference.
  x = draw(size).to(at::kHalf) * 3000;
  ASSERT_TRUE(x.isfinite().all().item<bool>());
  ASSERT_FALSE(op(x).isfinite().all().item<bool>());
  EXPECT_FALSE(tile_error(op.described(), x, op(x)));
  // bfloat16 has float32's range: there the same clip is compared.
  const Operation wide = op.to(at::kBFloat16);
  EXPECT_LT(tile_error(wide.described(), x.to(at::kBFloat16), wide(x.to(at::kBFloat16))).value(), 5e-3);
}

TEST(ConvolutionCheck, SmallAndAbsentResultsAreNotErrors) {
  const Operation op = operation("3x3x3", {3, 3, 3}).to(at::kHalf);
  Operation silent = op;
  silent.bias = at::zeros_like(op.bias);
  const Tensor black = at::zeros({4, 9, 9, kIn}, at::kHalf);
  EXPECT_EQ(tile_error(silent.described(), black, silent(black)), 0);
  EXPECT_GT(tile_error(silent.described(), black, op(black)).value(), kConvolutionBound);
  silent.bias.fill_(1e-6);  // 17 units of half's smallest: rounded by up to 3 %
  EXPECT_LT(tile_error(silent.described(), black, silent(black)).value(), kConvolutionBound);
}

TEST(ConvolutionCheck, ThrowsOnFirstUseAndNamesTheWayOut) {
  const Operation op = operation("3x3x3", {3, 3, 3}).to(at::kHalf);
  const Tensor x = draw({4, 9, 11}).to(at::kHalf), y = op(x);
  try {
    check_convolution_once(op.described(), x, y * 1.1);
    ADD_FAILURE() << "a wrong convolution passed";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    EXPECT_NE(text.find("[conv3d Half [4, 5, 3, 3, 3] over 4x9x11 on cpu] must be within 0.02"), std::string::npos)
        << text;
    EXPECT_NE(text.find("--dtype float32"), std::string::npos) << text;
  }
  EXPECT_NO_THROW(check_convolution_once(op.described(), x, y));
  EXPECT_NO_THROW(check_convolution_once(op.described(), x, y * 2)) << "not looked at any more";
  const Tensor other = draw({4, 9, 12}).to(at::kHalf);
  EXPECT_THROW(check_convolution_once(op.described(), other, op(other) * 2), c10::Error) << "another size";
}

}  // namespace
}  // namespace wan::kernels
