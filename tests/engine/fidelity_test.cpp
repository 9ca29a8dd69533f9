// PSNR and SSIM against scikit-image and ffmpeg (tests/oracle/compare), and what is said of a row of values.
#include "engine/compare/fidelity.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/compare/series.h"
#include "models/weights/checkpoint.h"

namespace wan {
namespace {

const Checkpoint& golden() {
  static const Checkpoint loaded = Checkpoint::open(WAN_SOURCE_DIR "/tests/golden/compare/expected.safetensors");
  return loaded;
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Both sides compute in float64; what is lost in the difference of a mean square and a squared mean, of values up to 255,
// is 65025 * 2^-53 or so, beside C2 = 58.5.
constexpr double kRounding = 1e-11;

}  // namespace

TEST(Fidelity, EqualsScikitImageAndFfmpeg) {
  for (const char* name : {"noise", "moved", "window", "white", "opposite", "wide"}) {
    SCOPED_TRACE(name);
    const auto of = [&](const char* what) { return golden().map(std::string("pair.") + name + "." + what); };
    const at::Tensor a = of("a"), b = of("b"), want = of("values");
    const double error = mean_squared_error(a, b);
    EXPECT_NEAR(error, want[0].item<double>(), kRounding * error);
    EXPECT_NEAR(psnr(error), want[1].item<double>(), kRounding);
    EXPECT_NEAR(psnr(error), of("ffmpeg_psnr")[0].item<double>(), .00501) << "ffmpeg prints two decimals";
    EXPECT_NEAR(ssim(a, b), want[2].item<double>(), kRounding);
    EXPECT_NEAR(ssim(b, a), want[2].item<double>(), kRounding);
  }
}

TEST(Fidelity, EqualFramesHaveNoErrorAndASimilarityOfOne) {
  const at::Tensor a = golden().map("pair.noise.a");
  EXPECT_EQ(mean_squared_error(a, a), 0);
  EXPECT_EQ(psnr(0), kInfinity);
  EXPECT_EQ(ssim(a, a), 1);
}

TEST(Fidelity, HasTheSameBytesWithAnyNumberOfThreads) {
  at::manual_seed(1);
  const at::Tensor a = at::randint(256, {123, 301, 3}, at::kByte), b = at::randint(256, {123, 301, 3}, at::kByte);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const double one = ssim(a, b);
  at::set_num_threads(3);
  EXPECT_EQ(ssim(a, b), one);
  at::set_num_threads(threads);
}

// Black against white: the largest sums that there are, of a row longer than a block.
TEST(Fidelity, TheLargestErrorIsExact) {
  const at::Tensor black = at::zeros({37, 1000, 3}, at::kByte), white = at::full_like(black, 255);
  EXPECT_EQ(mean_squared_error(black, white), 65025);
  EXPECT_EQ(psnr(65025), 0);
}

TEST(Fidelity, RefusesOtherFrames) {
  const at::Tensor frame = at::zeros({12, 12, 3}, at::kByte);
  for (const at::Tensor& other :
       {at::zeros({12, 13, 3}, at::kByte), at::zeros({12, 12, 3}), at::zeros({12, 12, 4}, at::kByte),
        at::zeros({3, 12, 12}, at::kByte).permute({1, 2, 0}), at::zeros({12, 12}, at::kByte)}) {
    EXPECT_THROW(mean_squared_error(frame, other), c10::Error) << other.sizes();
    EXPECT_THROW(ssim(frame, other), c10::Error) << other.sizes();
  }
  const at::Tensor small = at::zeros({10, 12, 3}, at::kByte);
  EXPECT_THROW(ssim(small, small), c10::Error);
  EXPECT_EQ(mean_squared_error(small, small), 0);
}

TEST(Series, MeanWorstSlopeAndQuarters) {
  const Summary summary = summary_of({5, 4, 3, 1, 1, 2, 0.5, 0}, {0, 1, 2, 3, 4, 5, 6, 7}, Worse::Lower);
  EXPECT_EQ(summary.counted, 8u);
  EXPECT_DOUBLE_EQ(*summary.mean, 16.5 / 8);
  EXPECT_EQ(*summary.worst, 7u);
  // Against times around 3.5: (-3.5*5 - 2.5*4 - 1.5*3 - .5*1 + .5*1 + 1.5*2 + 2.5*.5 + 3.5*0) / 42.
  EXPECT_DOUBLE_EQ(*summary.per_second, (-17.5 - 10 - 4.5 - .5 + .5 + 3 + 1.25) / 42);
  EXPECT_DOUBLE_EQ(*summary.first_quarter, 4.5);
  EXPECT_DOUBLE_EQ(*summary.last_quarter, .25);
  EXPECT_EQ(*summary_of({1, 3, 3}, {0, 1, 2}, Worse::Higher).worst, 1u) << "the first of equals";
  EXPECT_DOUBLE_EQ(*summary_of({1, 2, 3}, {0, .1, .2}, Worse::Higher).per_second, 10);
}

TEST(Series, EqualFramesDoNotCount) {
  const Summary some = summary_of({kInfinity, 30, kInfinity, 20, kInfinity}, {0, 1, 2, 3, 4}, Worse::Lower);
  EXPECT_EQ(some.counted, 2u);
  EXPECT_DOUBLE_EQ(*some.mean, 25);
  EXPECT_EQ(*some.worst, 3u);
  EXPECT_DOUBLE_EQ(*some.per_second, -5);
  EXPECT_FALSE(some.first_quarter || some.last_quarter) << "the first frame and the last one are equal";
  const Summary half = summary_of({kInfinity, 30, 20}, {0, 1, 2}, Worse::Lower);
  EXPECT_FALSE(half.first_quarter || half.last_quarter) << "both or neither";
  const Summary none = summary_of({kInfinity, kInfinity}, {0, 1}, Worse::Lower);
  EXPECT_EQ(none.counted, 0u);
  EXPECT_FALSE(none.mean || none.worst || none.per_second || none.first_quarter || none.last_quarter);
}

TEST(Series, OfOneFrameThereIsNoDrift) {
  const Summary one = summary_of({30}, {0}, Worse::Lower);
  EXPECT_DOUBLE_EQ(*one.mean, 30);
  EXPECT_EQ(*one.worst, 0u);
  EXPECT_FALSE(one.per_second || one.first_quarter || one.last_quarter);
  EXPECT_FALSE(summary_of({30, 20}, {0, 0}, Worse::Lower).per_second) << "both at one time";
  EXPECT_DOUBLE_EQ(*summary_of({30, 20}, {0, 0}, Worse::Lower).last_quarter, 20);
  EXPECT_FALSE(summary_of({}, {}, Worse::Lower).mean);
}

}  // namespace wan
