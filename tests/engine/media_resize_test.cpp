// Resizes against Pillow's and torch's own results.
#include "engine/media/resize.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

// "16x24" of a golden's name.
std::pair<int64_t, int64_t> size_of(const std::string& name) {
  return {std::stoll(name), std::stoll(name.substr(name.find('x') + 1))};
}

template <typename Resize>
void expect_equal(const std::string& kind, double atol, Resize resize) {
  std::vector<std::string> names = expected_names("resize." + kind + ".");
  EXPECT_FALSE(names.empty()) << kind;
  for (const std::string& name : names) {
    auto [height, width] = size_of(name);
    EXPECT_TRUE(
        is_close(resize(expected("resize.source"), height, width), expected("resize." + kind + "." + name), atol))
        << kind << " " << name;
  }
}

TEST(Resize, PillowFiltersToTheBit) {
  expect_equal("triangle", 0, [](const at::Tensor& rgb, int64_t h, int64_t w) { return resize_pillow(rgb, h, w); });
  expect_equal("lanczos", 0,
               [](const at::Tensor& rgb, int64_t h, int64_t w) { return resize_pillow(rgb, h, w, Filter::Lanczos); });
}

TEST(Resize, CoverIsPillowsFit) {
  expect_equal("cover", 0, resize_cover);
}

TEST(Resize, ShorterSideIsTorchvisionsResizeAndCrop) {
  expect_equal("shorter", 0, resize_shorter_side);
}

// 1e-6: the same kernel in the same library, in another build of it.
TEST(Resize, BicubicIsTorchs) {
  expect_equal("bicubic", 1e-6, resize_bicubic);
}

TEST(Resize, ShorterSideInFloat) {
  expect_equal("shorter_float", 1e-6, [](const at::Tensor& rgb, int64_t h, int64_t w) {
    at::Tensor frames = resize_shorter_side_float(at::stack({at::zeros_like(rgb), rgb}), h, w);
    EXPECT_EQ(frames.sizes(), (std::vector<int64_t>{3, 2, h, w}));
    return frames.select(1, 1);
  });
}

// 20,000 to 1: what is computed between resizing and cropping stays small.
TEST(Resize, LongThinPicturesAreCutBeforeTheyAreComputed) {
  at::Tensor line = at::full({1, 20000, 3}, 9, at::kByte);
  EXPECT_EQ(resize_shorter_side(line, 448, 832).sizes(), (std::vector<int64_t>{448, 832, 3}));
  EXPECT_EQ(max_abs_difference(resize_cover(line, 480, 832), at::full({480, 832, 3}, 9, at::kByte)), 0);
  EXPECT_THROW(resize_shorter_side_float(line.unsqueeze(0), 448, 832), std::invalid_argument);
}

TEST(Resize, RefusesOtherShapes) {
  EXPECT_THROW(resize_pillow(at::zeros({4, 4}, at::kByte), 2, 2), std::invalid_argument);
  EXPECT_THROW(resize_cover(at::zeros({4, 4, 3}), 2, 2), std::invalid_argument);
  EXPECT_THROW(resize_bicubic(at::zeros({4, 4, 3}, at::kByte), 0, 2), std::invalid_argument);
}

}  // namespace
}  // namespace wan
