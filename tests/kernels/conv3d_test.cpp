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

}  // namespace
}  // namespace wan::kernels
