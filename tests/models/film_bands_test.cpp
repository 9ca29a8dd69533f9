// Bands of FILM's layers: what they give is what the whole level gives, whatever its height.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/film/layers.h"
#include "models/film/needs.h"
#include "models/weights/scope.h"
#include "tests/support.h"

namespace wan::film {
namespace {

constexpr int64_t kColumns = 7;
constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

at::Tensor drawn(at::IntArrayRef shape) {
  const int64_t inputs = shape.size() == 1 ? 1 : shape[1] * shape[2] * shape[3];
  return at::randn(shape, at::kDouble).div_(std::sqrt(double(inputs)));
}

at::Tensor picture(int64_t channels, int64_t height, int64_t columns = kColumns) {
  return at::randn({1, channels, height, columns}, at::kDouble).contiguous(kChannelsLast);
}

class FilmBands : public testing::Test {
 protected:
  FilmBands() { at::manual_seed(9); }

  const c10::InferenceMode inference;
  Weights weights{[](at::IntArrayRef shape, Role) { return drawn(shape); }};
  // Fewer rows than a band has, whole bands, a last band of one row (57: seven of eight, and one), of two, of five.
  const std::vector<int64_t> heights = {1, 2, 8, 9, 57, 58, 61};
};

}  // namespace

TEST_F(FilmBands, CoverEachRowOnce) {
  for (const int64_t most : {1, 8, 9, 40, 1000})
    for (int64_t height = 1; height < 200; ++height) {
      SCOPED_TRACE(std::to_string(height) + " rows, " + std::to_string(most) + " a band");
      const Bands bands(height, 100, 100 * most + 99);
      EXPECT_LE(bands.rows, std::max<int64_t>(8, most));
      EXPECT_TRUE(bands.is_last(bands.count - 1));
      int64_t next = 0;
      for (int64_t i = 0; i < bands.count; ++i) {
        EXPECT_EQ(bands[i].first, next);
        EXPECT_GT(bands[i].count(), 0);
        next = bands[i].end;
      }
      EXPECT_EQ(next, height);
    }
}

TEST_F(FilmBands, GiveTheFlowOfTheWholeLevel) {
  for (const int64_t channels : {6, 16})  // by ATen's convolution, and by winograd()
    for (const int64_t convolutions : {1, 3}) {
      const FlowPredictor whole(weights.root() / channels / convolutions, channels, {convolutions, 2 * channels},
                                at::kDouble, int64_t(1) << 30);
      FlowPredictor banded = whole;
      banded.band_bytes = 1;
      for (const int64_t height : heights) {
        SCOPED_TRACE(std::to_string(channels) + " channels, " + std::to_string(height) + " rows");
        const at::Tensor features = picture(channels, height), other = picture(channels, height);
        const auto warp = [&](const at::Tensor& out, int64_t first) { out.copy_(other.narrow(2, first, out.size(2))); };
        const at::Tensor own = whole.own(features), want = whole(features, own, warp);
        EXPECT_EQ(want.sizes(), at::IntArrayRef({1, 2, height, kColumns}));
        // float64, other tiles
        EXPECT_TRUE(is_close(banded(features, own, warp), want, 1e-12));
        EXPECT_TRUE(is_close(banded(features, {}, warp), want, 1e-12)) << "what the first picture adds, by bands";
        EXPECT_TRUE(is_close(whole(features, {}, warp), want, 1e-12));
      }
    }
}

TEST_F(FilmBands, GiveTheFusionOfTheWholeLevel) {
  for (const int64_t channels : {6, 16}) {
    const Scope root = weights.root() / channels;
    const FusionLevel whole(root, 5, channels, 2 * channels, at::kDouble, int64_t(1) << 30);
    FusionLevel banded = whole;
    banded.band_bytes = 1;
    const Convolution last(root / "output", 2 * channels, 3, 1, at::kDouble);
    for (const int64_t height : heights) {
      SCOPED_TRACE(std::to_string(channels) + " channels, " + std::to_string(height) + " coarser rows");
      const at::Tensor coarser = picture(5, height), aligned = picture(channels, 2 * height, 2 * kColumns);
      const auto align = [&](const at::Tensor& out, int64_t first) {
        out.copy_(aligned.narrow(2, first, out.size(2)));
      };
      EXPECT_TRUE(is_close(banded(coarser, align), whole(coarser, align), 1e-12));
      EXPECT_TRUE(is_close(banded(coarser, align, &last), whole(coarser, align, &last), 1e-12));
    }
  }
}

// Beside the features of both frames there are bands, and one level of the fusion with the next.
TEST_F(FilmBands, KeepAPairOf720pBelow) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const Needs said = needs(kPublished, 720, 1280);
  at::set_num_threads(threads);
  EXPECT_LT(said.frame_bytes, int64_t(770) << 20);
  EXPECT_LT(said.peak_bytes - 2 * said.frame_bytes, int64_t(320) << 20);
}

}  // namespace wan::film
