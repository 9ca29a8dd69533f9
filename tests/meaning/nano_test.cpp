// The checkpoint of this repository shows what a prompt says: 32 clips, rendered with the defaults of `wan-infer t2v`,
// have the colours, the paths and the directions that tests/nano/expected.json lists.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/frames/quality.h"
#include "models/vae/frames.h"
#include "tests/meaning/renderer.h"
#include "tests/support.h"

namespace wan {
namespace {

/// What --quality-check tells of a video [3, F, H, W] in [-1, 1], with its numbers; empty where it tells nothing.
std::string found_in(const at::Tensor& video) {
  QualityStep step;
  step.take({vae::to_uint8(video), 0, {16, 1}}, [](const Frames&) {});
  const QualityNumbers quality = step.result();
  return findings(quality).empty() ? "" : to_json(quality).dump();
}

TEST(Meaning, ClipsShowWhatTheirPromptsSay) {
  Renderer renderer("float32");
  const nlohmann::json& tolerance = renderer.expected()["tolerance_float32"];
  for (size_t i = 0; i < renderer.count(); ++i) {
    const nlohmann::json& clip = renderer.expected()["clips"][i];
    SCOPED_TRACE("clip " + std::to_string(i) + ": " + clip["prompt"].get<std::string>());
    Clip got = renderer.render(i);
    expect_meaning(measure(got.video), clip["measured"], tolerance);
    EXPECT_EQ(found_in(got.video), "");
    if (!renderer.golden(i, "latent").defined()) continue;
    const double frame = tolerance["golden_frame_max_abs"];
    EXPECT_TRUE(is_close(got.latent, renderer.golden(i, "latent"), tolerance["golden_latent_max_abs"]));
    EXPECT_TRUE(is_close(got.video.select(1, 0), renderer.golden(i, "frame_first"), frame));
    EXPECT_TRUE(is_close(got.video.select(1, -1), renderer.golden(i, "frame_last"), frame));
  }
}

TEST(Meaning, ClipsInBf16ShowTheSame) {
  Renderer renderer("bf16");
  const nlohmann::json& tolerance = renderer.expected()["tolerance_bf16"];
  for (size_t i = 0; i < 3; ++i) {
    const nlohmann::json& clip = renderer.expected()["clips"][i];
    SCOPED_TRACE("clip " + std::to_string(i) + ": " + clip["prompt"].get<std::string>());
    Clip got = renderer.render(i);
    expect_meaning(measure(got.video), clip["measured"], tolerance);
    if (!renderer.golden(i, "latent").defined()) continue;
    EXPECT_LE(relative_rms(got.latent, renderer.golden(i, "latent")), tolerance["golden_latent_rel_rms"]);
    for (auto [frame, name] : {std::pair{0, "frame_first"}, std::pair{-1, "frame_last"}}) {
      at::Tensor difference = got.video.select(1, frame) - renderer.golden(i, name);
      EXPECT_LE(difference.square().mean().sqrt().item<double>(), tolerance["golden_frame_rms"]) << name;
    }
  }
}

/// Of two videos in -1..1, in dB.
double psnr(const at::Tensor& got, const at::Tensor& want) {
  return 10 * std::log10(4 / (got - want).square().mean().item<double>());
}

TEST(Meaning, ClipsInEightBitsShowTheSame) {
  // What stands in for the kernels on the CPU: the same codes, the same integers. Measured over 27 steps: balanced 2.5
  // % to 4.0 % of the latent and 52.4 dB to 55.7 dB, fast 2.6 % to 4.5 % and 51.1 dB to 54.7 dB.
  for (auto [precision, most, least] : {std::tuple{"balanced", 0.06, 48.0}, {"fast", 0.07, 40.0}}) {
    Renderer exact("float32"), renderer("float32", precision);
    const nlohmann::json& tolerance = renderer.expected()["tolerance_bf16"];
    for (size_t i = 0; i < 3; ++i) {
      const nlohmann::json& clip = renderer.expected()["clips"][i];
      SCOPED_TRACE(precision + (" clip " + std::to_string(i)) + ": " + clip["prompt"].get<std::string>());
      Clip got = renderer.render(i), want = exact.render(i);
      const double error = relative_rms(got.latent, want.latent), decibels = psnr(got.video, want.video);
      EXPECT_LE(error, most);
      EXPECT_GT(error, 1e-2) << "nothing is quantised";
      EXPECT_GE(decibels, least) << "dB";
      expect_meaning(measure(got.video), clip["measured"], tolerance);
    }
  }
}

}  // namespace
}  // namespace wan
