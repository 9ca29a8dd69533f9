#include "engine/speech/chain.h"

#include <ATen/ATen.h>

#include "tests/support.h"

namespace wan {
namespace {

/// A chain without networks: every frame is one pixel that holds its number, a clip's latents hold the clip's number.
struct FakeChain {
  explicit FakeChain(std::vector<Clip> clips, ChainOptions options = {}) : clips(std::move(clips)), options(options) {}

  std::vector<Clip> clips;
  ChainOptions options;
  int64_t piece = 4;
  std::vector<double> shown;
  std::vector<int64_t> decoded;
  std::vector<uint64_t> seeds;
  std::vector<Tensor> motion;   // what was encoded before each clip; undefined for none
  std::vector<Tensor> buffers;  // after each clip

  ChainSteps steps() {
    ChainSteps steps;
    steps.encode = [this](const Tensor& pixels) {
      EXPECT_EQ(pixels.size(1), MotionBuffer::kFrames);
      motion.back() = pixels.clone();
      return at::zeros({16, 19, 1, 1});
    };
    steps.sample = [this](const ClipTurn& turn) {
      seeds.push_back(turn.seed);
      EXPECT_EQ(turn.motion_latents.defined(), motion.back().defined());
      return at::full({16, turn.clip.frames / 4, 1, 1}, turn.number);
    };
    steps.decode = [this](const Tensor& latents, const std::function<void(const Tensor&)>& hand_on) {
      // Frame numbers count up over the whole video; the lead's frames are negative.
      const int64_t frames = 4 * latents.size(1) - 3, number = latents[0][-1].item<int64_t>();
      const Clip& clip = clips[number];
      decoded.push_back(frames);
      Tensor values = at::arange(frames, at::kFloat) - (frames - clip.frames) + clip.start;
      for (int64_t start = 0; start < frames; start += piece)
        hand_on(values.narrow(0, start, std::min(piece, frames - start)).view({1, -1, 1, 1}).expand({3, -1, -1, -1}));
    };
    steps.show = [this](const Tensor& frames) {
      for (int64_t i = 0; i < frames.size(1); ++i) shown.push_back(frames[0][i][0][0].item<double>());
    };
    steps.finished = [this](int64_t, const MotionBuffer& buffer) {
      buffers.push_back(buffer.frames().clone());
      motion.emplace_back();
    };
    return steps;
  }

  void run(int64_t first = 0, MotionBuffer buffer = MotionBuffer(1, 1)) {
    motion.emplace_back();
    chain_clips(clips, first, at::zeros({16, 1, 1, 1}), buffer, options, steps());
  }
};

std::vector<double> counting(double from, double to) {
  std::vector<double> values;
  for (double value = from; value < to; ++value) values.push_back(value);
  return values;
}

TEST(SpeechChain, ReferenceDropsThreeFramesAndGoesOnFromTheBuffer) {
  FakeChain chain({{0, 40}, {40, 40}, {80, 40}}, {.seed = 7, .hold_first_frame = false});
  chain.run();
  EXPECT_EQ(chain.shown, counting(3, 120));
  EXPECT_EQ(int64_t(chain.shown.size()), chained_frames(chain.clips, chain.options));
  EXPECT_EQ(chain.decoded, (std::vector<int64_t>{41, 113, 113}));
  EXPECT_EQ(chain.seeds, (std::vector<uint64_t>{7, 8, 9}));
  EXPECT_FALSE(chain.motion[0].defined());
  // 37 frames of the first clip stand behind grey; the third clip sees 73 frames of both.
  EXPECT_EQ(chain.motion[1].select(1, 35).abs().max().item<float>(), 0);
  EXPECT_EQ(chain.motion[1][0][36].item<float>(), 3);
  EXPECT_EQ(chain.motion[2][0][0].item<float>(), 7);
  EXPECT_EQ(chain.motion[2][0][72].item<float>(), 79);
}

TEST(SpeechChain, HeldFrameKeepsEveryFrameAtItsTime) {
  FakeChain chain({{0, 80}, {80, 40}});
  chain.run();
  ASSERT_EQ(chain.shown.size(), 120u);
  EXPECT_EQ(int64_t(chain.shown.size()), chained_frames(chain.clips, chain.options));
  EXPECT_EQ(std::vector<double>(chain.shown.begin(), chain.shown.begin() + 4), (std::vector<double>{3, 3, 3, 3}));
  for (size_t i = 3; i < chain.shown.size(); ++i) EXPECT_EQ(chain.shown[i], double(i));
}

TEST(SpeechChain, StartingFromTheImageUsesMotionAtOnceAndDropsNothing) {
  FakeChain chain({{0, 80}}, {.start_from_image = true});
  chain.run(0, MotionBuffer(1, 1, at::ones({3, 1, 1, 1})));
  EXPECT_EQ(chain.shown, counting(0, 80));
  EXPECT_EQ(chained_frames(chain.clips, chain.options), 80);
  EXPECT_EQ(chain.motion[0].sum().item<float>(), 3 * 6);
  EXPECT_EQ(chain.motion[0][2][67].item<float>(), 1);
  EXPECT_EQ(chain.buffers[0][0][0].item<float>(), 7);  // 80 frames replace the whole buffer
}

TEST(SpeechChain, PiecesOfAnySizeGiveTheSameBuffer) {
  FakeChain whole({{0, 76}, {76, 120}}), cut = whole;
  whole.piece = 1000;
  cut.piece = 3;
  whole.run();
  cut.run();
  EXPECT_EQ(whole.shown, cut.shown);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::equal(whole.buffers[i], cut.buffers[i]));
}

TEST(SpeechChain, GoesOnFromASavedBuffer) {
  FakeChain whole({{0, 40}, {40, 40}, {80, 40}}), resumed = whole;
  whole.run();
  resumed.run(2, MotionBuffer(whole.buffers[1]));
  EXPECT_TRUE(at::equal(resumed.motion[0], whole.motion[2]));
  EXPECT_EQ(resumed.shown, counting(80, 120));
  EXPECT_EQ(resumed.seeds, (std::vector<uint64_t>{2}));
}

TEST(SpeechChain, PoseRepeatsItsFirstFrameAndEndsInBlack) {
  Tensor pose = at::arange(50, at::kFloat).view({1, -1, 1, 1}).expand({3, -1, 1, 1});
  Tensor seen;
  auto encode = [&](const Tensor& pixels) {
    seen = pixels.clone();
    return at::arange((pixels.size(1) + 3) / 4).view({1, -1, 1, 1}).expand({16, -1, 1, 1});
  };
  Tensor latents = pose_latents(pose, {40, 40}, encode);
  EXPECT_EQ(latents.sizes(), (std::vector<int64_t>{16, 10, 1, 1}));
  EXPECT_EQ(latents[0][0].item<int64_t>(), 1);
  EXPECT_EQ(seen.size(1), 41);
  EXPECT_EQ(seen[0][0].item<float>(), 40);
  EXPECT_EQ(seen[0][1].item<float>(), 40);
  EXPECT_EQ(seen[0][10].item<float>(), 49);
  EXPECT_EQ(seen[0][11].item<float>(), -1);
  pose_latents(pose, {80, 40}, encode);
  EXPECT_EQ(seen.max().item<float>(), -1);
}

}  // namespace
}  // namespace wan
