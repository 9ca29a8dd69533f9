// What the levels of docs/acceleration.md cost on the checkpoint of this repository: 32 clips against those without.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "engine/compare/fidelity.h"
#include "tests/meaning/renderer.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::string kCalibration = (kNanoTests / "calibration.json").string();

/// Video [3, F, H, W] in [-1, 1] -> frames uint8 [F, H, W, 3], as they come into a file.
at::Tensor frames_of(const at::Tensor& video) {
  return ((video.to(at::kDouble).clamp(-1, 1) + 1) * 127.5).round().to(at::kByte).permute({1, 2, 3, 0}).contiguous();
}

/// How near the frames of two clips are: PSNR of all together, as wan-infer compare has it, and the mean of the frames' SSIM.
struct Nearness {
  double decibels, similar;
};
Nearness nearness(const at::Tensor& a, const at::Tensor& b) {
  double error = 0, similar = 0;
  const auto count = double(a.size(0));
  for (int64_t i = 0; i < a.size(0); ++i) {
    error += mean_squared_error(a[i], b[i]) / count;
    similar += ssim(a[i], b[i]) / count;
  }
  return {psnr(error), similar};
}

std::vector<std::string> regular() {
  return {"--acceleration", "regular", "--calibration", kCalibration};
}

TEST(Meaning, AccelerationRegularKeepsItIn30Of32Clips) {
  Renderer renderer("float32", "exact", {"--model", kNanoModel.string()}, regular());
  EXPECT_GE(renderer.reuse().reused(), 10) << "of 54 forwards";
  int64_t kept = 0, moved = 0;
  for (size_t i = 0; i < renderer.count(); ++i) {
    const nlohmann::json& want = renderer.expected()["clips"][i]["measured"];
    const Measured got = measure(renderer.render(i).video);
    kept += verdict(got) == verdict(want);
    // The same path: within two pixels in every frame.
    std::vector<at::Tensor> rows;
    for (const auto& centre : want["centroids"]) rows.push_back(at::tensor(centre.get<std::vector<double>>()));
    moved += max_abs_difference(got.centres, at::stack(rows)) > 2;
  }
  EXPECT_EQ(renderer.count(), 32u);
  EXPECT_GE(kept, 30);
  EXPECT_LE(moved, 2);
}

struct Level {
  const char* name;
  std::string precision;
  std::vector<std::string> flags;
};

/// The rows of the table in docs/acceleration.md: `meaning_tests --gtest_also_run_disabled_tests --gtest_filter=*CostTable`.
/// Minutes, and nothing that could fail.
TEST(Meaning, DISABLED_CostTable) {
  const std::vector<Level> levels = {
      {"none, in bf16", "exact", {}},
      {"`--acceleration regular`", "exact", regular()},
      {"`--guidance-interval 0:0.95`", "exact", {"--guidance-interval", "0:0.95"}},
      {"`--guidance-interval 0.3:1`", "exact", {"--guidance-interval", "0.3:1"}},
      {"`--guidance-interval 0.3:0.95`", "exact", {"--guidance-interval", "0.3:0.95"}},
      {"`--precision balanced`", "balanced", {}},
      {"`--precision fast`", "fast", {}},
      {"`--skip-softmax 0.1`", "exact", {"--skip-softmax", "0.1"}},
      {"`--skip-softmax 0.5`", "exact", {"--skip-softmax", "0.5"}},
      {"`--acceleration regular --precision fast`", "fast", regular()},
      {"`--preset lightning8-3phase`, not distilled", "exact", {"--preset", "lightning8-3phase"}},
      {"`--preset lightning4`, not distilled", "exact", {"--preset", "lightning4"}},
  };
  std::vector<at::Tensor> plain;
  {
    Renderer renderer("float32");
    for (size_t i = 0; i < renderer.count(); ++i) plain.push_back(frames_of(renderer.render(i).video));
  }
  std::printf(
      "| level | forwards of 54 | PSNR, mean (least) | SSIM, mean (least) | meaning kept |\n|---|---|---|---|---|\n");
  for (const Level& level : levels) {
    const bool half = std::string(level.name).ends_with("bf16");
    Renderer renderer(half ? "bf16" : "float32", level.precision, {"--model", kNanoModel.string()}, level.flags);
    double psnr_sum = 0, psnr_least = INFINITY, ssim_sum = 0, ssim_least = INFINITY;
    int64_t kept = 0;
    for (size_t i = 0; i < renderer.count(); ++i) {
      const at::Tensor video = renderer.render(i).video;
      const auto [decibels, similar] = nearness(frames_of(video), plain[i]);
      psnr_sum += decibels, ssim_sum += similar;
      psnr_least = std::min(psnr_least, decibels), ssim_least = std::min(ssim_least, similar);
      kept += verdict(measure(video)) == verdict(renderer.expected()["clips"][i]["measured"]);
    }
    const double count = double(renderer.count());
    std::printf("| %s | %ld | %.1f dB (%.1f) | %.4f (%.4f) | %ld of %ld |\n", level.name,
                long(renderer.reuse().forwards() - renderer.reuse().reused()), psnr_sum / count, psnr_least,
                ssim_sum / count, ssim_least, long(kept), long(count));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace wan
