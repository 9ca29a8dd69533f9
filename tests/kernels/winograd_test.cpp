// Convolutions by Winograd's products against ATen's in float64.
#include "kernels/convolution/winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "tests/support.h"
#include "tools/bench/counted_memory.h"

namespace wan::kernels {
namespace {

using at::Tensor;

/// float64 everywhere: only the order of sums differs.
constexpr double kExact = 1e-11;

struct Size {
  int64_t in, out, height, width;
};
/// Odd sizes, single rows, columns and pixels, channels that fill no vector, and more tiles than a piece has.
constexpr Size kSizes[] = {{12, 10, 7, 9}, {12, 10, 41, 90}, {16, 40, 1, 1},   {17, 3, 2, 5},
                           {1, 16, 9, 1},  {64, 16, 1, 33},  {192, 192, 3, 6}, {32, 64, 20, 26}};

std::string text(const Size& size) {
  return std::to_string(size.in) + " to " + std::to_string(size.out) + " channels, " + std::to_string(size.height) +
         "x" + std::to_string(size.width);
}

Tensor draw(at::IntArrayRef shape) {
  const Tensor values = at::randn(shape, at::kDouble);
  return shape.size() == 4 ? values.contiguous(at::MemoryFormat::ChannelsLast) : values;
}

/// A convolution whose results are about 1.
struct Case {
  explicit Case(const Size& size)
      : x(draw({1, size.in, size.height, size.width})),
        weight(at::randn({size.out, size.in, 3, 3}, at::kDouble).div_(3 * std::sqrt(double(size.in)))),
        bias(draw({size.out})),
        slopes(draw({size.out})) {}
  Tensor plain() const { return at::conv2d(x, weight, {}, 1, 1); }
  Tensor computed(const ConvolutionFinish& finish, bool band = false) const {
    return winograd(x, winograd_weight(weight), finish, band);
  }
  /// Like the result.
  Tensor picture() const { return draw({1, weight.size(0), x.size(2), x.size(3)}); }

  Tensor x, weight, bias, slopes;
};

Tensor per_channel(const Tensor& values) {
  return values.view({1, -1, 1, 1});
}

}  // namespace

TEST(Winograd, IsTheConvolution) {
  at::manual_seed(4);
  for (const Size& size : kSizes) {
    const Case drawn(size);
    const Tensor got = drawn.computed({});
    EXPECT_TRUE(is_close(got, drawn.plain(), kExact)) << text(size);
    EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast)) << text(size);
  }
}

TEST(Winograd, FinishesInTheOrderThatIsSaid) {
  at::manual_seed(5);
  for (const Size& size : kSizes) {
    SCOPED_TRACE(text(size));
    const Case drawn(size);
    const Tensor sums = drawn.plain(), add = drawn.picture(), then = drawn.picture();
    EXPECT_TRUE(is_close(drawn.computed({.bias = drawn.bias}), sums + per_channel(drawn.bias), kExact));
    EXPECT_TRUE(is_close(drawn.computed({.add = add}), sums + add, kExact));
    EXPECT_TRUE(is_close(drawn.computed({.slope = 0.2}), at::leaky_relu(sums, 0.2), kExact));
    EXPECT_TRUE(is_close(drawn.computed({.slopes = drawn.slopes}), at::prelu(sums, drawn.slopes), kExact));
    EXPECT_TRUE(is_close(drawn.computed({.then = then}), sums + then, kExact));
    const Tensor before = sums + per_channel(drawn.bias) + add;
    EXPECT_TRUE(is_close(drawn.computed({.bias = drawn.bias, .add = add, .slope = 0.2, .then = then}),
                         at::leaky_relu(before, 0.2) + then, kExact));
    EXPECT_TRUE(is_close(drawn.computed({.bias = drawn.bias, .add = add, .slopes = drawn.slopes, .then = then}),
                         at::prelu(before, drawn.slopes) + then, kExact));
  }
}

// Pictures lie side by side in a larger one, of which rows or channels are taken.
TEST(Winograd, TakesPartsOfPictures) {
  at::manual_seed(6);
  const Case drawn({24, 20, 10, 12});
  const Tensor wide = draw({1, 70, 16, 12}), add = draw({1, 50, 14, 12});
  const Tensor x = wide.narrow(1, 30, 24).narrow(2, 3, 10), part = add.narrow(1, 7, 20).narrow(2, 2, 10);
  const Tensor got = winograd(x, winograd_weight(drawn.weight), {.add = part});
  EXPECT_TRUE(is_close(got, at::conv2d(x, drawn.weight, {}, 1, 1) + part, kExact));
}

TEST(Winograd, OfABandTheFirstAndLastRowAreOnlySeen) {
  at::manual_seed(7);
  for (const Size& size : kSizes) {
    if (size.height < 3) continue;
    const Case drawn(size);
    const Tensor inner = at::conv2d(drawn.x, drawn.weight, drawn.bias, 1, at::IntArrayRef{0, 1});
    EXPECT_TRUE(is_close(drawn.computed({.bias = drawn.bias}, true), inner, kExact)) << text(size);
  }
}

// Its own rounding stays below that of 576 products added one after the other.
TEST(Winograd, InFloatRoundsAsSumsDo) {
  at::manual_seed(8);
  const Case drawn({64, 64, 25, 40});
  const Tensor want = drawn.plain(), x = drawn.x.to(at::kFloat), weight = drawn.weight.to(at::kFloat);
  const Tensor got = winograd(x, winograd_weight(weight), {});
  EXPECT_EQ(got.scalar_type(), at::kFloat);
  const double error = relative_rms(got, want), direct = relative_rms(at::conv2d(x, weight, {}, 1, 1), want);
  EXPECT_LT(error, 1.5 * direct);
  EXPECT_LT(error, 1e-6);
}

TEST(Winograd, NumberOfThreadsChangesNoBit) {
  at::manual_seed(9);
  const int before = at::get_num_threads();
  for (const Size& size : kSizes) {
    const Case drawn(size);
    const Tensor x = drawn.x.to(at::kFloat), weight = winograd_weight(drawn.weight.to(at::kFloat));
    at::set_num_threads(1);
    const Tensor want = winograd(x, weight, {.slope = 0.2});
    for (const int threads : {2, 3, 8}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(at::equal(winograd(x, weight, {.slope = 0.2}), want)) << text(size) << ", " << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

TEST(Winograd, NaNStays) {
  const Case drawn({16, 16, 8, 8});
  drawn.x[0][3][5][5] = std::numeric_limits<double>::quiet_NaN();
  for (const ConvolutionFinish& finish : {ConvolutionFinish{.slope = 0.2}, ConvolutionFinish{.slopes = drawn.slopes}})
    EXPECT_TRUE(
        at::equal(drawn.computed(finish).isnan()[0][2].narrow(0, 4, 3).narrow(1, 4, 3), at::ones({3, 3}, at::kBool)));
}

TEST(Winograd, TakesForItselfWhatItSays) {
  const int before = at::get_num_threads();
  for (const auto& [in, out, height, width] : {Size{64, 64, 96, 160}, Size{192, 192, 24, 40}, Size{16, 32, 5, 7}}) {
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      const Tensor x = at::randn({1, in, height, width}).contiguous(at::MemoryFormat::ChannelsLast);
      const Tensor weight = at::randn({16, in, out});
      CountedMemory memory;
      memory.begin();
      const int64_t held = memory.now();
      const Tensor y = winograd(x, weight, {});
      const int64_t taken = (memory.peak() - held - int64_t(y.nbytes())) / int64_t(sizeof(float));
      EXPECT_LE(taken, winograd_scratch(in, out, height, width));
      EXPECT_GE(taken, winograd_scratch(in, out, height, width) / threads);  // a thread may do all of them
    }
  }
  at::set_num_threads(before);
}

TEST(Winograd, IsForTheCpuAndChannelsEnough) {
  EXPECT_TRUE(takes_winograd(64, 64, at::kCPU, at::kFloat));
  EXPECT_TRUE(takes_winograd(64, 64, at::kCPU, at::kDouble));
  EXPECT_FALSE(takes_winograd(64, 64, at::kCUDA, at::kFloat));
  EXPECT_FALSE(takes_winograd(64, 64, at::kCPU, at::kBFloat16));
  EXPECT_FALSE(takes_winograd(3, 64, at::kCPU, at::kFloat));
  EXPECT_FALSE(takes_winograd(64, 3, at::kCPU, at::kFloat));
}

TEST(Winograd, RefusesOtherShapes) {
  const Tensor x = at::zeros({1, 12, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor weight = winograd_weight(at::zeros({10, 12, 3, 3}));
  EXPECT_NO_THROW(winograd(x, weight, {}));
  EXPECT_THROW(winograd(x, winograd_weight(at::zeros({10, 11, 3, 3})), {}), c10::Error);
  EXPECT_THROW(winograd(x, weight.to(at::kDouble), {}), c10::Error);
  EXPECT_THROW(winograd(x.contiguous(), weight, {}), c10::Error);
  EXPECT_THROW(winograd(at::zeros({2, 12, 4, 4}), weight, {}), c10::Error);
  EXPECT_THROW(winograd(x.narrow(2, 0, 2), weight, {}, true), c10::Error);
  EXPECT_THROW(winograd(x, weight, {.bias = at::zeros({12})}), c10::Error);
  EXPECT_THROW(winograd(x, weight, {.bias = at::zeros({10}, at::kDouble)}), c10::Error);
  EXPECT_THROW(winograd(x, weight, {.slopes = at::zeros({1})}), c10::Error);
  EXPECT_THROW(winograd(x, weight, {.add = at::zeros({1, 12, 4, 4})}), c10::Error);
  EXPECT_THROW(winograd(x, weight, {.then = at::zeros({1, 10, 4, 4})}), c10::Error);
  EXPECT_THROW(winograd(x.to(at::kHalf), weight.to(at::kHalf), {}), c10::Error);
}

}  // namespace wan::kernels
