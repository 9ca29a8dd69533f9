// A circle that moves, with frames drawn between by RIFE 4.0's trained weights: what the whole step makes of a clip is where
// it has to be. The weights are among the cases of tests/oracle/interpolation (WAN_INTERPOLATION).
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "engine/frames/interpolate.h"
#include "engine/residency/interpolator_network.h"

namespace wan::parity {
namespace {

constexpr int64_t kSide = 128;
constexpr double kRadius = 18;

/// uint8 [1, kSide, kSide, 3]: a bright disc with a soft edge before a dark, faintly sloped ground.
at::Tensor disc(double x, double y) {
  const at::Tensor places = at::arange(kSide, at::kDouble);
  const at::Tensor distance = at::sqrt((places - x).square().unsqueeze(0) + (places - y).square().unsqueeze(1));
  const at::Tensor cover = (kRadius + 0.5 - distance).clamp(0, 1).unsqueeze(-1);
  const at::Tensor ground = (0.1 + 0.05 * (places.unsqueeze(0) + places.unsqueeze(1)) / kSide).unsqueeze(-1);
  const at::Tensor colour = at::tensor({0.9, 0.7, 0.3}, at::kDouble);
  return (ground + cover * (colour - ground)).mul(255).round().to(at::kByte).unsqueeze(0);
}

/// Mean place (x, y) of what is brighter in red than the ground, in pixels.
std::array<double, 2> centre(const at::Tensor& frame) {
  const at::Tensor weight = (frame.select(2, 0).to(at::kDouble) / 255 - 0.35).clamp_min(0);
  const at::Tensor places = at::arange(kSide, at::kDouble);
  const double all = weight.sum().item<double>();
  return {(weight.sum(0) * places).sum().item<double>() / all, (weight.sum(1) * places).sum().item<double>() / all};
}

TEST(MovingCircle, IsDrawnBetweenItsNeighbours) {
  const char* const folder = std::getenv("WAN_INTERPOLATION");
  const std::filesystem::path weights = std::filesystem::path(folder ? folder : "") / "rife40_trained/flownet.pkl";
  if (!folder || !std::filesystem::exists(weights))
    GTEST_SKIP()
        << "WAN_INTERPOLATION names no folder with rife40_trained; tests/oracle/interpolation/make.py makes it";
  const c10::InferenceMode inference;
  const auto network =
      load_interpolator({.model = "rife", .file = {.path = weights, .name = "flownet.pkl", .rule = ""}}, Placement());
  constexpr int64_t kFrames = 4, kBetween = 3;
  const std::array<double, 2> start = {40, 56}, step = {14, 5};
  const Interpolation how{.model = "rife", .between = kBetween};
  InterpolateStep drawing(how, network.get());
  std::vector<at::Tensor> frames;
  FrameStream stream({&drawing}, [&](const Frames& some) { frames.push_back(some.rgb); });
  for (int64_t i = 0; i < kFrames; ++i)
    stream.push(disc(start[0] + double(i) * step[0], start[1] + double(i) * step[1]));
  stream.end();
  const at::Tensor clip = at::cat(frames);
  ASSERT_EQ(clip.size(0), how.frames(kFrames));
  EXPECT_EQ(drawing.counts().still, 0);
  EXPECT_EQ(drawing.counts().cuts, 0);
  for (int64_t i = 0; i < clip.size(0); ++i) {
    const double at = double(i) / (kBetween + 1);
    const auto [x, y] = centre(clip.select(0, i));
    EXPECT_NEAR(x, start[0] + at * step[0], 1) << "frame " << i;
    EXPECT_NEAR(y, start[1] + at * step[1], 1) << "frame " << i;
  }
}

}  // namespace
}  // namespace wan::parity
