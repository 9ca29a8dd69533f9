// Made-up clips, each with one thing wrong: it is told, and nothing else is. Ordinary ones pass.
#include "engine/frames/quality.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <set>

#include "engine/base/error.h"
#include "engine/job/video_file.h"
#include "engine/media/stream_times.h"
#include "engine/media/writer.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

constexpr int64_t kFrames = 81, kHeight = 180, kWidth = 320;

at::Tensor to_bytes(const at::Tensor& values) {
  return values.round().clamp(0, 255).to(at::kByte).contiguous();
}

/// float32 [n, H, W, 3]: coloured waves that move by `pixels` a frame, of this mean and amplitude.
at::Tensor waves(int64_t frames, double pixels, double mean = 100, double amplitude = 50) {
  const at::Tensor t = at::arange(frames, at::kFloat).view({-1, 1, 1, 1}),
                   y = at::arange(kHeight, at::kFloat).view({1, -1, 1, 1}),
                   x = at::arange(kWidth, at::kFloat).view({1, 1, -1, 1}),
                   colour = at::arange(3, at::kFloat).view({1, 1, 1, -1});
  const at::Tensor across = ((x + t * pixels) / 9 + colour).sin(), down = (y / 7 + 2 * colour).sin();
  return mean + amplitude * (across * 0.6 + down * 0.4);
}

/// A camera that stands: nothing moves but a square of 16 pixels.
at::Tensor standing(int64_t frames) {
  at::Tensor values = waves(1, 0).expand({frames, -1, -1, -1}).clone();
  for (int64_t t = 0; t < frames; ++t) values[t].slice(0, 80, 96).slice(1, 2 * (t % 140), 2 * (t % 140) + 16).add_(40);
  return values;
}

/// 0 at the first frame to 1 at the last: [n, 1, 1, 1].
at::Tensor growing(int64_t frames) {
  return at::linspace(0, 1, frames).view({-1, 1, 1, 1});
}

/// The frames in pieces of this length; a new clip begins at each of `borders`.
QualityNumbers measured(const at::Tensor& rgb, const std::set<int64_t>& borders = {}, int64_t piece = 4,
                        Rational rate = {16, 1}) {
  QualityStep step;
  int64_t passed = 0;
  for (int64_t at = 0; at < rgb.size(0);) {
    if (borders.contains(at)) step.begin_clip();
    int64_t end = std::min(at + piece, rgb.size(0));
    for (const int64_t border : borders)
      if (border > at) end = std::min(end, border);
    const at::Tensor part = rgb.slice(0, at, end);
    step.take({part, at, rate}, [&](const Frames& frames) {
      EXPECT_TRUE(frames.rgb.is_same(part)) << "frames pass as they are";
      passed += frames.rgb.size(0);
    });
    at = end;
  }
  EXPECT_EQ(passed, rgb.size(0));
  return step.result();
}

std::string told(const QualityNumbers& quality) {
  return kinds_text(findings(quality));
}

std::string told_of(const at::Tensor& values, const std::set<int64_t>& borders = {}) {
  return told(measured(to_bytes(values), borders));
}

class QualityOfFrames : public testing::Test {
  c10::InferenceMode inference_;
};

TEST_F(QualityOfFrames, BlackOnesAreTold) {
  at::Tensor values = waves(kFrames, 1);
  values.slice(0, 44, kFrames).fill_(1);
  const QualityNumbers quality = measured(to_bytes(values));
  EXPECT_EQ(quality.black_frames, 37);
  ASSERT_EQ(told(quality), "black");
  EXPECT_EQ(findings(quality)[0].text, "37 of 81 frames are black: the mean brightness is below 2 of 255");
  EXPECT_NE(findings(quality)[0].change.find("--quality-check retry"), std::string::npos);
  EXPECT_EQ(told_of(at::zeros({1, kHeight, kWidth, 3})), "black") << "a clip of one frame";
}

TEST_F(QualityOfFrames, FlatOnesAreTold) {
  at::Tensor values = waves(kFrames, 1);
  values.slice(0, 40, kFrames).fill_(118);
  EXPECT_EQ(told_of(values), "flat");
  at::Tensor coloured = waves(kFrames, 1);
  coloured.copy_(coloured.mean({0, 1, 2}, true).expand_as(coloured));
  EXPECT_EQ(told_of(coloured), "flat") << "from the first frame on";
}

TEST_F(QualityOfFrames, FrozenOnesAreTold) {
  at::Tensor values = waves(kFrames, 1);
  values.slice(0, 41, kFrames).copy_(values.slice(0, 40, 41).expand({kFrames - 41, -1, -1, -1}));
  const QualityNumbers quality = measured(to_bytes(values));
  EXPECT_EQ(quality.frozen_frames, 41);
  EXPECT_DOUBLE_EQ(quality.frozen_seconds, 2.56);
  EXPECT_EQ(told(quality), "frozen");
  EXPECT_EQ(told_of(waves(9, 0)), "frozen") << "a clip below a second that stands from end to end";
  at::Tensor pause = waves(kFrames, 1);
  pause.slice(0, 41, 50).copy_(pause.slice(0, 40, 41).expand({9, -1, -1, -1}));
  EXPECT_EQ(told_of(pause), "") << "half a second";
  EXPECT_EQ(told_of(waves(kFrames, 0.1)), "") << "motion that is slow adds up";
}

TEST_F(QualityOfFrames, FlickeringOnesAreTold) {
  const at::Tensor sign = 1 - 2 * at::arange(kFrames, at::kFloat).remainder(2).view({-1, 1, 1, 1});
  const QualityNumbers quality = measured(to_bytes(standing(kFrames) + 5 * sign));
  EXPECT_GE(quality.flicker_frames, 75);
  EXPECT_EQ(told(quality), "flicker");
  EXPECT_EQ(told_of(standing(kFrames) + sign), "") << "by one level nobody sees it";
  // A wave over the four frames that one latent frame becomes.
  const at::Tensor four = at::arange(kFrames, at::kFloat).remainder(4).view({-1, 1, 1, 1});
  EXPECT_EQ(told_of(standing(kFrames) + 4 * four), "flicker");
}

TEST_F(QualityOfFrames, DriftOfBrightnessIsTold) {
  const QualityNumbers brighter = measured(to_bytes(waves(kFrames, 1, 85, 50) + 80 * growing(kFrames)));
  EXPECT_NEAR(brighter.brightness_drift, 65, 2) << "from the middle of the first second to that of the last";
  ASSERT_EQ(told(brighter), "brightness");
  EXPECT_TRUE(findings(brighter)[0].text.starts_with("the picture grows brighter from its beginning to its end, by "))
      << findings(brighter)[0].text;
  EXPECT_EQ(findings(brighter)[0].change, "another seed, or a lower --guidance-scale") << "it has 81 frames";
  QualityNumbers longer = brighter;
  longer.frames = 82;
  EXPECT_EQ(findings(longer)[0].change, "81 frames or fewer, another seed, or a lower --guidance-scale");
  const QualityNumbers darker = measured(to_bytes(waves(kFrames, 1, 165, 50) - 80 * growing(kFrames)));
  EXPECT_LT(darker.brightness_drift, -60);
  ASSERT_EQ(told(darker), "brightness");
  EXPECT_TRUE(findings(darker)[0].text.starts_with("the picture grows darker ")) << findings(darker)[0].text;
}

TEST_F(QualityOfFrames, OfManyCutsNoDriftIsTold) {
  // Sixteen scenes that grow brighter by 38 levels and cut back: what is left without the cuts is more than there are levels.
  constexpr int64_t kScene = 20, kScenes = 16;
  const at::Tensor ramp = growing(kScene).mul(38).repeat({kScenes, 1, 1, 1});
  const QualityNumbers many = measured(to_bytes(waves(kScene * kScenes, 1, 110, 40) + ramp));
  EXPECT_EQ(many.brightness_drift, 0);
  EXPECT_EQ(told(many), "");
  const at::Tensor two = growing(kScene).mul(38).repeat({2, 1, 1, 1});
  EXPECT_GT(measured(to_bytes(waves(2 * kScene, 1, 110, 40) + two)).brightness_drift, 40) << "over one cut it is";
}

TEST_F(QualityOfFrames, DriftOfColourIsTold) {
  const at::Tensor warm = at::tensor({36.0F, 0.0F, -36.0F}).view({1, 1, 1, 3});
  EXPECT_EQ(told_of(waves(kFrames, 1, 110, 40) + warm * growing(kFrames)), "colour");
  // Colours that fade, or burn in, while their mean stays where it is.
  const at::Tensor burning = 0.4 + 1.6 * growing(kFrames);
  EXPECT_EQ(told_of(waves(kFrames, 0.2, 120, 70) * burning + 120 * (1 - burning)), "colour");
}

TEST_F(QualityOfFrames, ABorderBetweenClipsIsToldWhereItShows) {
  at::Tensor values = standing(120);
  values.slice(0, 80, 120).add_(10);
  const std::set<int64_t> borders = {40, 80};
  const QualityNumbers quality = measured(to_bytes(values), borders);
  EXPECT_EQ(quality.clips, 3);
  EXPECT_EQ(quality.seams, 1);
  EXPECT_EQ(quality.seam_frame, 80);
  EXPECT_NEAR(quality.seam_change, 10, 0.5);
  EXPECT_EQ(told(quality), "seam");
  EXPECT_EQ(told_of(standing(120), borders), "");
  EXPECT_EQ(told_of(waves(120, 2), borders), "") << "what moves all the time changes as much elsewhere";
}

TEST_F(QualityOfFrames, ChainedClipsMayDriftLessThanOne) {
  const at::Tensor values = standing(120) + 35 * growing(120);
  EXPECT_EQ(told_of(values), "");
  EXPECT_EQ(told_of(values, {40, 80}), "brightness");
}

TEST_F(QualityOfFrames, OrdinaryPicturesAreNotTold) {
  EXPECT_EQ(told_of(waves(kFrames, 3)), "") << "a camera that pans";
  EXPECT_EQ(told_of(standing(kFrames)), "") << "one that stands";
  EXPECT_EQ(told_of(waves(kFrames, 1) + 35 * growing(kFrames)), "") << "light that grows";
  at::Tensor night = waves(kFrames, 1, 4, 4);
  night.slice(1, 60, 70).slice(2, 100, 110).fill_(200);
  EXPECT_EQ(told_of(night), "") << "a night with a lamp";
  at::Tensor dim = waves(kFrames, 1, 2, 2);
  dim.slice(1, 60, 64).slice(2, 100, 108).fill_(200);
  EXPECT_EQ(told_of(dim), "") << "with a lamp far away";
  at::Tensor dark = waves(kFrames, 4, 1, 1);  // its mean is that of a black frame
  dark.slice(1, 60, 64).slice(2, 100, 108).fill_(200);
  EXPECT_EQ(told_of(dark), "") << "with nothing but that lamp";
  EXPECT_EQ(told_of(at::cat({waves(40, 2, 50, 40), waves(41, -1, 180, 60).flip({1, 3})})), "") << "a cut";
  at::Tensor flashes = waves(kFrames, 1);
  for (const int64_t at : {10, 33, 61}) flashes[at].add_(90);
  EXPECT_EQ(told_of(flashes), "") << "flashes";
  at::Tensor through_black = waves(kFrames, 1);
  through_black.mul_((at::arange(kFrames, at::kFloat) - 40).abs().div(10).clamp(0, 1).view({-1, 1, 1, 1}));
  EXPECT_EQ(told_of(through_black), "") << "a fade through black";
  at::manual_seed(3);
  EXPECT_EQ(told_of(waves(kFrames, 1) + 12 * at::randn({kFrames, kHeight, kWidth, 3})), "") << "grain";
  EXPECT_EQ(told_of(waves(kFrames, 1, 225, 12)), "") << "fog";
}

TEST_F(QualityOfFrames, NumbersAreTheSameInWhateverPiecesTheyCome) {
  const at::Tensor rgb = to_bytes(waves(kFrames, 1) + 90 * growing(kFrames));
  const std::string want = to_json(measured(rgb, {40}, 1)).dump();
  for (const int64_t piece : {2, 4, 7, 81}) EXPECT_EQ(to_json(measured(rgb, {40}, piece)).dump(), want) << piece;
}

TEST_F(QualityOfFrames, AStateGoesOnAsIfItHadNotBeenBroken) {
  at::Tensor values = standing(120) + 60 * growing(120);
  values.slice(0, 80, 120).add_(10);
  const at::Tensor rgb = to_bytes(values);
  const std::string want = to_json(measured(rgb, {40, 80})).dump();
  const FrameSink nowhere = [](const Frames&) {};
  for (const int64_t broken : {1, 2, 17, 40, 80, 119}) {
    QualityStep before, after;
    const auto push = [&](QualityStep& step, int64_t from, int64_t to) {
      for (int64_t at = from; at < to; ++at) {
        if (at == 40 || at == 80) step.begin_clip();
        step.take({rgb.slice(0, at, at + 1), at, {16, 1}}, nowhere);
      }
    };
    push(before, 0, broken);
    after.restore(before.state());
    EXPECT_EQ(to_json(after.result()).dump(), to_json(before.result()).dump());
    push(after, broken, 120);
    EXPECT_EQ(to_json(after.result()).dump(), want) << broken;
    EXPECT_LT(before.state().numel(), 20'000) << "it does not grow with the stream";
  }
  QualityStep step;
  EXPECT_THROW(step.restore(at::zeros({5}, at::kDouble)), std::invalid_argument);
  EXPECT_THROW(step.restore(at::zeros({5})), std::invalid_argument);
}

TEST_F(QualityOfFrames, FramesOfAnySizeAreTaken) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {16, 16}, {64, 64}, {37, 1000}}) {
    const at::Tensor rgb = at::randint(0, 256, {3, height, width, 3}).to(at::kByte);
    EXPECT_EQ(measured(rgb).frames, 3) << height << "x" << width;
  }
  QualityStep step;
  EXPECT_THROW(step.take({at::zeros({1, 8, 8, 3}), 0, {16, 1}}, [](const Frames&) {}), std::invalid_argument);
}

TEST(QualityNumbers, GoToJsonAndBack) {
  QualityNumbers quality{.frames = 162, .black_frames = 20, .brightness_drift = -3.25, .clips = 3, .seams = 2};
  quality.sound_offset = 62.5;
  quality.sound_shift = 62.5;
  const nlohmann::ordered_json json = to_json(quality);
  EXPECT_EQ(to_json(read_quality(nlohmann::json::parse(json.dump()))), json);
  EXPECT_EQ(told(quality), "black, seam, sound");
  EXPECT_EQ(json["found"].size(), 3u);
  EXPECT_FALSE(to_json(QualityNumbers{}).contains("seams")) << "one clip has no borders";
  EXPECT_FALSE(to_json(QualityNumbers{}).contains("sound_offset_ms"));
  EXPECT_EQ(rounded(-0.001), 0.0);
  EXPECT_FALSE(std::signbit(rounded(-0.001))) << "-0 would be another text";
}

TEST(QualityOfSound, AnOffsetIsToldFromFortyMillisecondsOn) {
  const auto told_at = [](double start, double delay) {
    QualityNumbers quality;
    add_times(quality, {.picture = {0, 5}, .sound = StreamSpan{start, 5}}, delay);
    return told(quality);
  };
  EXPECT_EQ(told_at(0, 0), "");
  EXPECT_EQ(told_at(0.04, 0), "");
  EXPECT_EQ(told_at(0.05, 0), "sound");
  EXPECT_EQ(told_at(0.5, 0.5), "") << "the input's own";
  EXPECT_EQ(told_at(0, 0.5), "sound") << "what was late comes early";
  QualityNumbers late, early, silent;
  add_times(late, {.picture = {0, 5}, .sound = StreamSpan{0.05, 5}});
  add_times(early, {.picture = {0, 5}, .sound = StreamSpan{0, 5}}, 0.5);
  EXPECT_EQ(findings(late).at(0).text, "the sound is 50.00 ms late against the picture");
  EXPECT_EQ(findings(early).at(0).text, "the sound is 500.00 ms early against the picture");
  add_times(silent, {.picture = {0, 5}, .sound = {}});
  EXPECT_FALSE(silent.sound_offset);
}

// A file whose sound begins late by its streams, and what is made of it with that sound.
TEST(QualityOfSound, IsReadFromTheStreams) {
  const TemporaryFolder folder;
  const std::string clip = folder / "clip.mp4", late = folder / "late.mp4", out = folder / "out.mp4";
  {
    VideoWriter writer(clip, {.height = 32, .width = 32, .audio = AudioFormat{16000, 1}});
    writer.write(moving_picture(32, 32, 32));
    writer.write_audio(at::rand({1, 32000}) - 0.5);
    const StreamTimes times = writer.flush();
    EXPECT_DOUBLE_EQ(times.picture.start, 0);
    EXPECT_DOUBLE_EQ(times.picture.end, 2);
    ASSERT_TRUE(times.sound);
    EXPECT_DOUBLE_EQ(times.sound->start, 0) << "the encoder's run-in is hidden";
    EXPECT_NEAR(times.sound->end, 2, 0.1);
    writer.finish();
  }
  EXPECT_NEAR(sound_delay({clip, "video_url"}).value(), 0, 1e-3);
  ffmpeg("-i " + clip + " -itsoffset 0.3 -i " + clip + " -map 0:v -map 1:a -c copy " + late);
  EXPECT_NEAR(sound_delay({late, "video_url"}).value(), 0.3, 0.07) << "whole packets of 64 ms";
  VideoWriter writer(out, {.height = 32, .width = 32, .audio_from = late});
  writer.write(moving_picture(32, 32, 32));
  QualityNumbers quality, as_ours;
  add_times(quality, writer.flush(), sound_delay({late, "video_url"}).value());
  add_times(as_ours, writer.flush());
  EXPECT_NEAR(*quality.sound_offset, 300, 70);
  EXPECT_EQ(told(quality), "");
  EXPECT_EQ(told(as_ours), "sound");
  const TemporaryFolder silent;
  VideoWriter none(silent / "silent.mp4", {.height = 32, .width = 32});
  none.write(moving_picture(2, 32, 32));
  EXPECT_FALSE(none.flush().sound);
  none.finish();
  EXPECT_FALSE(sound_delay({silent / "silent.mp4", "video_url"}));
}

/// The cost in docs/quality.md: `engine_tests --gtest_also_run_disabled_tests --gtest_filter=*CostOfAFrame`.
TEST(QualityOfFramesCost, DISABLED_CostOfAFrame) {
  const at::Tensor rgb = at::randint(0, 256, {4, 720, 1280, 3}).to(at::kByte);
  QualityStep step;
  const auto start = std::chrono::steady_clock::now();
  constexpr int kRounds = 100;
  for (int i = 0; i < kRounds; ++i) step.take({rgb, 4 * i, {16, 1}}, [](const Frames&) {});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.3f ms a frame of 1280x720\n", 1000 * seconds / (4 * kRounds));
}

}  // namespace
}  // namespace wan
