// What the sampling starts from: the image condition and the latent of a video, with the tiny checkpoint's VAE.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/frames/vae_clip.h"
#include "engine/job/image_task.h"
#include "engine/job/video_task.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

class ConditioningTest : public testing::Test {
 protected:
  const vae::Vae& vae() { return models_.vae(); }
  QuietRun run_;

 private:
  c10::InferenceMode inference_;
  Networks models_{
      parts_of(std::filesystem::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-T2V-A14B", Task::T2V),
      Placement{}, 0, Log{}};
};

/// uint8 [F, H, W, 3] -> [3, F, H, W] in [-1, 1].
at::Tensor pixels_of(const at::Tensor& rgb) {
  return (rgb.to(at::kFloat) / 255 * 2 - 1).permute({3, 0, 1, 2});
}

TEST_F(ConditioningTest, ImageConditionMarksTheFirstFrame) {
  const at::Tensor image = pixels_of(moving_picture(1, 32, 48)).squeeze(1);
  const at::Tensor condition = image_condition(vae(), image, {}, 9, run_);
  ASSERT_EQ(condition.sizes(), (std::vector<int64_t>{20, 3, 4, 6}));
  const at::Tensor mask = condition.narrow(0, 0, 4);
  EXPECT_TRUE(at::equal(mask.select(1, 0), at::ones({4, 4, 6})));
  EXPECT_TRUE(at::equal(mask.narrow(1, 1, 2), at::zeros({4, 2, 4, 6})));
  const at::Tensor clip = at::cat({image.unsqueeze(1), at::zeros({3, 8, 32, 48})}, 1);
  EXPECT_TRUE(at::equal(condition.narrow(0, 4, 16), pixel_latent(vae(), clip, run_)));
}

TEST_F(ConditioningTest, ALastImageIsTheLastFrameAlone) {
  const at::Tensor frames = pixels_of(moving_picture(2, 32, 48));
  const at::Tensor first = frames.select(1, 0), last = frames.select(1, 1);
  const at::Tensor condition = image_condition(vae(), first, last, 9, run_);
  at::Tensor want = at::zeros({4, 3, 4, 6});
  want.select(1, 0).fill_(1);
  want.select(1, 2).select(0, 3).fill_(1);  // of the four frames that share the last latent frame
  EXPECT_TRUE(at::equal(condition.narrow(0, 0, 4), want));
  const at::Tensor clip = at::cat({first.unsqueeze(1), at::zeros({3, 7, 32, 48}), last.unsqueeze(1)}, 1);
  EXPECT_TRUE(at::equal(condition.narrow(0, 4, 16), pixel_latent(vae(), clip, run_)));
}

TEST_F(ConditioningTest, VideoLatentIsThatOfItsPixels) {
  const at::Tensor frames = moving_picture(5, 32, 48);
  const at::Tensor latent = video_latent(vae(), frames, run_);
  ASSERT_EQ(latent.sizes(), (std::vector<int64_t>{16, 2, 4, 6}));
  EXPECT_TRUE(is_close(latent, pixel_latent(vae(), pixels_of(frames), run_), 1e-6));
}

TEST(Noised, MixesByTheFirstStepsSigma) {
  const at::Tensor noise = at::full({1}, 2.f), clean = at::full({1}, 4.f);
  const Schedule schedule(SolverKind::UniPc, {{.sigma = 0.25}});
  EXPECT_TRUE(is_close(noised(noise, clean, schedule), at::full({1}, 3.5f), 1e-7));
  EXPECT_TRUE(at::equal(noised(noise, {}, schedule), noise));
}

}  // namespace
}  // namespace wan
