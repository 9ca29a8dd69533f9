// Channels-last convolutions against ATen's in the layout and with the padding that the reference writes.
#include "kernels/convolution/conv3d.h"

#include <algorithm>

#include "tests/support.h"

namespace wan::kernels {
namespace {

/// float64 everywhere: only the order of sums differs.
constexpr double kExact = 1e-11;

Tensor randn(at::IntArrayRef shape) {
  return at::randn(shape, at::kDouble);
}
Tensor first(const Tensor& clip) {
  return clip.permute({3, 0, 1, 2}).unsqueeze(0);
}  // [1, C, T, H, W]
Tensor last(const Tensor& batch) {
  return batch.squeeze(0).permute({1, 2, 3, 0});
}
Tensor frames_first(const Tensor& clip) {
  return clip.permute({0, 3, 1, 2}).contiguous();
}  // [T, C, H, W]
Tensor frames_last(const Tensor& frames) {
  return frames.permute({0, 2, 3, 1});
}

struct Size {
  int64_t frames, height, width;
};
constexpr Size kSizes[] = {{3, 1, 1}, {4, 2, 3}, {5, 6, 7}, {6, 8, 5}};

TEST(Conv3d, MatchesTheReferenceLayoutForEveryKernelOfTheVae) {
  for (const Size& size : kSizes) {
    const Tensor x = randn({size.frames, size.height, size.width, 5}), bias = randn({4});
    for (std::vector<int64_t> kernel : {std::vector<int64_t>{3, 3, 3}, {1, 3, 3}, {3, 1, 1}}) {
      const Tensor weight = randn({4, 5, kernel[0], kernel[1], kernel[2]});
      const Tensor want = at::conv3d(first(x), weight, bias, 1, {0, kernel[1] / 2, kernel[2] / 2});
      const Tensor got = conv3d(x, weight, bias);
      EXPECT_TRUE(is_close(got, last(want), kExact)) << at::IntArrayRef(kernel);
      EXPECT_TRUE(is_close(reference::conv3d(x, weight, bias), last(want), kExact)) << at::IntArrayRef(kernel);
      EXPECT_TRUE(got.is_contiguous());
    }
    const Tensor weight = randn({4, 5, 3, 1, 1});
    EXPECT_TRUE(is_close(conv3d(x, weight, Tensor()), conv3d(x, weight, at::zeros_like(bias)), kExact))
        << "no bias is 0";
    const Tensor want = last(at::conv3d(first(x), weight, bias, {2, 1, 1}));
    EXPECT_TRUE(is_close(conv3d(x, weight, bias, 2), want, kExact));
    EXPECT_TRUE(is_close(reference::conv3d(x, weight, bias, 2), want, kExact));
  }
}

TEST(Conv2dDown, PadsRightAndBelow) {
  for (const Size& size : kSizes) {
    if (std::min(size.height, size.width) < 2) continue;
    const Tensor x = randn({size.frames, size.height, size.width, 5}), weight = randn({5, 5, 3, 3}), bias = randn({5});
    const Tensor padded = at::constant_pad_nd(frames_first(x), {0, 1, 0, 1});
    const Tensor want = frames_last(at::conv2d(padded, weight, bias, 2));
    EXPECT_TRUE(is_close(conv2d_down(x, weight, bias), want, kExact));
    EXPECT_TRUE(is_close(reference::conv2d_down(x, weight, bias), want, kExact));
  }
}

TEST(Conv2dUp, IsNearestTwiceThenConvolution) {
  for (const Size& size : kSizes) {
    const Tensor x = randn({size.frames, size.height, size.width, 6}), weight = randn({3, 6, 3, 3}), bias = randn({3});
    const Tensor doubled = frames_first(x).repeat_interleave(2, 2).repeat_interleave(2, 3);
    const Tensor folded = fold_nearest2x(weight), want = frames_last(at::conv2d(doubled, weight, bias, 1, 1));
    EXPECT_TRUE(is_close(conv2d_up(x, folded, bias), want, kExact));
    EXPECT_TRUE(is_close(reference::conv2d_up(x, folded, bias), want, kExact));
  }
}

TEST(Conv3d, ConvertsTheWeightAndNamesWrongShapes) {
  const Tensor x = at::randn({3, 4, 4, 2}), weight = randn({2, 2, 3, 3, 3}), bias = randn({2});
  EXPECT_EQ(conv3d(x, weight, bias).scalar_type(), at::kFloat);
  EXPECT_THROW(conv3d(x.narrow(3, 0, 1), weight, bias), c10::Error);
  EXPECT_THROW(conv3d(x.narrow(0, 0, 2), weight, bias), c10::Error);  // fewer frames than taps
  EXPECT_THROW(conv2d_up(x, randn({2, 2, 3, 3}), bias), c10::Error);
  EXPECT_THROW(fold_nearest2x(randn({2, 2, 2, 2})), c10::Error);
}

/// Rows `first` to before `end` of each frame.
Tensor rows_of(const Tensor& clip, int64_t first, int64_t end) {
  return clip.narrow(1, first, end - first).contiguous();
}

TEST(Conv3d, OnTheCpuAPartOfAFrameHasTheBitsOfTheWhole) {
  constexpr int64_t kFirst = 16, kEnd = 48;  // of 61 rows; one at each end sees past the part
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const int64_t channels : {5, 96}) {
      SCOPED_TRACE(std::string(c10::toString(dtype)) + ", " + std::to_string(channels) + " channels");
      const auto draw = [&](at::IntArrayRef shape) { return at::randn(shape).div_(10).to(dtype); };
      const Tensor x = draw({4, 61, 19, channels}), part = rows_of(x, kFirst, kEnd), bias = draw({7});
      const auto expect_same = [&](const auto& convolve, int64_t first, int64_t end, int64_t offset) {
        const Tensor whole = convolve(x), got = convolve(part);
        EXPECT_TRUE(rows_of(got, first - offset, end - offset).equal(rows_of(whole, first, end)));
      };
      for (const auto& [times, side] : {std::pair<int64_t, int64_t>{3, 3}, {1, 3}, {3, 1}}) {
        const Tensor weight = draw({7, channels, times, side, side});
        expect_same([&](const Tensor& clip) { return conv3d(clip, weight, bias); }, kFirst + 1, kEnd - 1, kFirst);
      }
      const Tensor weight = draw({7, channels, 3, 3}), folded = fold_nearest2x(weight), pixels = draw({7, channels});
      expect_same([&](const Tensor& clip) { return conv2d_down(clip, weight, bias); }, kFirst / 2, kEnd / 2 - 1,
                  kFirst / 2);
      expect_same([&](const Tensor& clip) { return conv2d_up(clip, folded, bias); }, 2 * kFirst + 1, 2 * kEnd - 1,
                  2 * kFirst);
      expect_same([&](const Tensor& clip) { return conv_pixels(clip, pixels, bias); }, kFirst, kEnd, kFirst);
    }
}

TEST(Conv3d, OfPixelsIsALinearLayer) {
  const Tensor x = randn({2, 11, 5, 6}), weight = randn({4, 6}), bias = randn({4});
  EXPECT_TRUE(is_close(conv_pixels(x, weight, bias), at::linear(x, weight, bias), kExact));
  EXPECT_THROW(conv_pixels(x, randn({4, 5}), bias), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
