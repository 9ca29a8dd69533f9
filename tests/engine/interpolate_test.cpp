// Frames between others: their numbers, their order, which of them are copied, and how much is held meanwhile.
#include "engine/frames/interpolate.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <mutex>
#include <stdexcept>

#include "engine/frames/steady.h"
#include "engine/frames/step_thread.h"
#include "engine/frames/tiled_interpolator.h"
#include "engine/residency/not_finite.h"
#include "tests/engine/media_support.h"

namespace wan {
namespace {

/// Mixes the two frames by their time, and notes what it was asked.
class Mixing : public Interpolator {
 public:
  struct Held : Frame {
    explicit Held(at::Tensor x) : rgb(std::move(x)) {}
    at::Tensor rgb;
  };
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  std::shared_ptr<const Frame> frame(const at::Tensor& rgb) const override {
    ++frames;
    largest = std::max(largest, rgb.size(2) * rgb.size(3));
    return std::make_shared<Held>(rgb);
  }
  at::Tensor between(const Frame& first, const Frame& second, double time) const override {
    times.push_back(time);
    const at::Tensor &a = dynamic_cast<const Held&>(first).rgb, &b = dynamic_cast<const Held&>(second).rgb;
    return gives_nan ? at::full_like(a, std::numeric_limits<double>::quiet_NaN()) : a * (1 - time) + b * time;
  }
  mutable std::vector<double> times;
  mutable int64_t frames = 0, largest = 0;
  bool gives_nan = false;
};

/// What a chain of one step gives of frames that come in pieces of `piece`.
std::vector<Frames> given(FrameStep& step, const at::Tensor& frames, Rational rate, int64_t piece = 4) {
  const c10::InferenceMode inference;
  std::vector<Frames> all;
  FrameStream stream(
      {&step}, [&](const Frames& some) { all.push_back(some); }, rate);
  for (int64_t i = 0; i < frames.size(0); i += piece)
    stream.push(frames.narrow(0, i, std::min(piece, frames.size(0) - i)));
  stream.end();
  return all;
}

at::Tensor joined(const std::vector<Frames>& all) {
  std::vector<at::Tensor> frames;
  for (const Frames& some : all) frames.push_back(some.rgb);
  return at::cat(frames);
}

/// Frames of even shades that differ enough to be no still, with texture so that none is a cut.
at::Tensor shades(int64_t count) {
  at::manual_seed(2);
  const at::Tensor texture = at::randint(0, 60, {48, 64, 3}, at::kByte);
  std::vector<at::Tensor> frames;
  for (int64_t i = 0; i < count; ++i) frames.push_back(texture + 24 * (i % 8));
  return at::stack(frames);
}

TEST(Midpoints, AreDrawnFromTheMiddleOut) {
  using Order = std::vector<DrawnFrame>;
  EXPECT_EQ(by_midpoints(1), (Order{{1, 0, 2}}));
  EXPECT_EQ(by_midpoints(2), (Order{{1, 0, 3}, {2, 1, 3}}));
  EXPECT_EQ(by_midpoints(3), (Order{{2, 0, 4}, {1, 0, 2}, {3, 2, 4}}));
  // 2 of 5 is as near the middle as 3; then 1 is in the middle, and 3 and 4 are as near to theirs.
  EXPECT_EQ(by_midpoints(4), (Order{{2, 0, 5}, {1, 0, 2}, {3, 2, 5}, {4, 3, 5}}));
  EXPECT_EQ(directly(2), (Order{{1, 0, 3}, {2, 0, 3}}));
  EXPECT_DOUBLE_EQ((DrawnFrame{3, 2, 5}).time(), 1.0 / 3);
  EXPECT_TRUE(by_midpoints(0).empty());
}

TEST(Interpolate, HasAsManyFramesAndTheRateThatTheRuleSays) {
  for (int64_t between = 1; between <= 4; ++between)
    for (const bool keeps : {true, false})
      for (int64_t count : {1, 2, 9}) {
        const Interpolation how{"film", between, keeps, false};
        const Mixing network;
        InterpolateStep step(how, &network);
        const std::vector<Frames> all = given(step, shades(count), {30000, 1001});
        int64_t next = 0;
        for (const Frames& some : all) {
          EXPECT_EQ(some.first, next);
          EXPECT_EQ(some.rate, (keeps ? Rational{30000 * (between + 1), 1001} : Rational{30000, 1001}));
          next += some.rgb.size(0);
        }
        EXPECT_EQ(next, count + (count - 1) * between);
        // A frame that came stands where it stood, or as much later as the video is slower.
        const Rational last = all.back().time(all.back().rgb.size(0) - 1);
        EXPECT_EQ(last, (Rational{(count - 1) * 1001 * (keeps ? 1 : between + 1), 30000}));
        EXPECT_EQ(step.counts().pairs, count - 1);
      }
}

TEST(Interpolate, PassesFramesOnAndDrawsBetweenThem) {
  const at::Tensor frames = shades(5);
  for (const bool direct : {false, true}) {
    const Mixing network;
    InterpolateStep step({"film", 3, true, direct}, &network);
    const at::Tensor got = joined(given(step, frames, {16, 1}));
    for (int64_t i = 0; i < 5; ++i) EXPECT_TRUE(got[4 * i].equal(frames[i])) << i;
    for (int64_t k = 1; k < 4; ++k) {
      const at::Tensor want = (frames[0].to(at::kFloat) * (4 - k) + frames[1].to(at::kFloat) * k).div_(4).round_();
      EXPECT_TRUE(got[k].equal(want.to(at::kByte))) << k;
    }
    EXPECT_EQ(network.times[0], direct ? 0.25 : 0.5);
    EXPECT_EQ(network.times[1], direct ? 0.5 : 0.5);
    // Each frame is looked at once, and the middle one that leads to the others.
    EXPECT_EQ(network.frames, direct ? 5 : 5 + 4);
  }
}

TEST(Interpolate, OfRifeIsAlwaysDirect) {
  const Mixing network;
  InterpolateStep step({"rife", 4, true, false}, &network);
  const at::Tensor frames = shades(2), got = joined(given(step, frames, {16, 1}));
  EXPECT_EQ(network.times, (std::vector<double>{1.0 / 5, 2.0 / 5, 3.0 / 5, 4.0 / 5}));
  for (int64_t k = 1; k < 5; ++k) {  // fifths of 24, rounded
    const at::Tensor want = (frames[0].to(at::kFloat) * (5 - k) + frames[1].to(at::kFloat) * k).div_(5).round_();
    EXPECT_TRUE(got[k].equal(want.to(at::kByte))) << k;
  }
}

TEST(Interpolate, CopiesWhereThePictureStandsAndAcrossCuts) {
  at::manual_seed(9);
  const at::Tensor one = at::randint(0, 255, {32, 32, 3}, at::kByte),
                   other = at::randint(0, 255, {32, 32, 3}, at::kByte);
  const at::Tensor frames = at::stack({one, one, other});
  const Mixing network;
  InterpolateStep step({"film", 3, true, false}, &network);
  const at::Tensor got = joined(given(step, frames, {16, 1}));
  EXPECT_EQ(step.counts().still, 1);
  EXPECT_EQ(step.counts().cuts, 1);
  EXPECT_TRUE(network.times.empty());
  for (int64_t i = 0; i <= 4; ++i) EXPECT_TRUE(got[i].equal(one));
  // The nearer one; of two as near the first.
  EXPECT_TRUE(got[5].equal(one));
  EXPECT_TRUE(got[6].equal(one));
  EXPECT_TRUE(got[7].equal(other));
}

/// uint8 [360, width, 3]: smooth colours that change by some levels from pixel to pixel.
at::Tensor soft_picture(int64_t width) {
  at::manual_seed(3);
  const at::Tensor cells = at::rand({1, 3, 12, 22}).mul(255);
  const at::Tensor picture = at::upsample_bilinear2d(cells, {360, width}, /*align_corners=*/false)[0];
  return picture.round().to(at::kByte).permute({1, 2, 0}).contiguous();
}

// In 32 x 32 pixels most of these pairs have a similarity above 0.996.
TEST(Interpolate, DrawsWhatIsSmallOrSlow) {
  constexpr int64_t kFrames = 5;
  const auto still = [](const std::vector<at::Tensor>& frames) {
    const Mixing network;
    InterpolateStep step({"rife", 1, true, true}, &network);
    given(step, at::stack(frames), {16, 1});
    EXPECT_EQ(step.counts().pairs, kFrames - 1);
    EXPECT_EQ(step.counts().cuts, 0);
    return step.counts().still;
  };
  const at::Tensor ground = soft_picture(640), wide = soft_picture(660);
  for (const int64_t side : {12, 24, 40})
    for (const int64_t pixels : {4, 8}) {
      std::vector<at::Tensor> frames;
      for (int64_t i = 0; i < kFrames; ++i) {
        frames.push_back(ground.clone());
        frames.back().narrow(0, 150, side).narrow(1, 100 + i * pixels, side).fill_(255);
      }
      EXPECT_EQ(still(frames), 0) << "a box of " << side << " that moves by " << pixels;
    }
  std::vector<at::Tensor> pan;
  for (int64_t i = 0; i < kFrames; ++i) pan.push_back(wide.narrow(1, i, 640));
  EXPECT_EQ(still(pan), 0) << "everything moves by a pixel";
}

TEST(Interpolate, DrawsBehindACutFromTheFramesBehindIt) {
  at::manual_seed(10);
  const at::Tensor one = at::randint(0, 200, {32, 32, 3}, at::kByte),
                   other = at::randint(0, 200, {32, 32, 3}, at::kByte);
  const at::Tensor frames = at::stack({one, one + 24, other, other + 24});
  const Mixing network;
  InterpolateStep step({"film", 1, true, false}, &network);
  const at::Tensor got = joined(given(step, frames, {16, 1}));
  ASSERT_EQ(step.counts().cuts, 1);
  ASSERT_EQ(network.times.size(), 2u);
  EXPECT_TRUE(got[1].equal(one + 12));
  EXPECT_TRUE(got[5].equal(other + 12));
}

TEST(Interpolate, HoldsOneFrameAndNotThePieceThatItCameIn) {
  const Mixing network;
  InterpolateStep step({"film", 1, true, false}, &network);
  given(step, shades(4), {16, 1});
  EXPECT_EQ(step.last().storage().nbytes(), step.last().nbytes());
}

TEST(Interpolate, RefusesFramesOfAnotherSize) {
  const Mixing network;
  InterpolateStep step({"film", 1, true, false}, &network);
  const at::Tensor frame = shades(1);
  step.go_on_after(frame[0]);
  const FrameSink nowhere = [](const Frames&) {};
  const Frames narrower = {frame.narrow(2, 0, 32).contiguous(), 0, {16, 1}};
  EXPECT_THROW(step.take(narrower, nowhere), std::invalid_argument);
}

TEST(Interpolate, GoesOnAfterAFrameAsIfItHadNotEnded) {
  const at::Tensor frames = shades(6);
  const Mixing network;
  InterpolateStep whole({"film", 2, true, false}, &network), first({"film", 2, true, false}, &network),
      second({"film", 2, true, false}, &network);
  const at::Tensor want = joined(given(whole, frames, {16, 1}));
  const at::Tensor a = joined(given(first, frames.narrow(0, 0, 4), {16, 1}));
  second.go_on_after(first.last());
  const at::Tensor b = joined(given(second, frames.narrow(0, 4, 2), {16, 1}));
  EXPECT_TRUE(at::cat({a, b}).equal(want));
}

TEST(Interpolate, TellsNotANumberByItsFrames) {
  Mixing network;
  network.gives_nan = true;
  InterpolateStep step({"film", 1, true, false}, &network);
  try {
    given(step, shades(2), {16, 1});
    ADD_FAILURE() << "not refused";
  } catch (const NotFinite& error) {
    EXPECT_NE(std::string(error.what()).find("between frames 1 and 2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("--interpolator-model none"), std::string::npos) << error.what();
  }
}

TEST(Interpolate, HasNoMoreThanFourFramesWaiting) {
  // A slow end of the chain: what is pushed waits, and does not pile up.
  const Mixing network;
  InterpolateStep step({"film", 1, true, false}, &network);
  const at::Tensor frames = shades(40);
  int64_t pushed = 0, passed = 0, most = 0;
  StepThread thread(step, at::kCPU);
  std::mutex mutex;
  FrameStream stream({&thread},
                     [&](const Frames& some) {
                       const std::lock_guard lock(mutex);
                       EXPECT_LE(some.rgb.size(0), 2);
                       most = std::max(most, pushed - ++passed);
                     },
                     {16, 1});
  const c10::InferenceMode inference;
  for (int64_t i = 0; i < 40; ++i) {
    {
      const std::lock_guard lock(mutex);
      ++pushed;
    }
    stream.push(frames.narrow(0, i, 1));
  }
  stream.end();
  EXPECT_EQ(passed, 40);
  EXPECT_LE(most, 5) << "two that wait, one at work, one that is pushed, one that was";
}

TEST(StepThread, GivesTheSameFramesAndTellsWhatIsThrown) {
  const at::Tensor frames = shades(9);
  const Mixing network;
  InterpolateStep plain({"film", 2, true, false}, &network), aside({"film", 2, true, false}, &network);
  StepThread thread(aside, at::kCPU);
  EXPECT_TRUE(joined(given(thread, frames, {16, 1})).equal(joined(given(plain, frames, {16, 1}))));
  Mixing broken;
  broken.gives_nan = true;
  InterpolateStep fails({"film", 2, true, false}, &broken);
  StepThread failing(fails, at::kCPU);
  EXPECT_THROW(given(failing, frames, {16, 1}), NotFinite);
}

/// Holds one frame back, and notes what it was given.
struct Holding : FrameStep {
  void take(const Frames& frames, const FrameSink& next) override {
    sizes.push_back(frames.rgb.size(0));
    numbers.push_back(frames.first);
    if (held) next(*held);
    held = frames;
  }
  void end(const FrameSink& next) override {
    if (held) next(*held);
  }
  std::optional<Frames> held;
  std::vector<int64_t> sizes, numbers;
};

TEST(StepThread, HandsFramesOverOneByOneWithTheirNumbersAndEndsItsStep) {
  Holding step;
  StepThread thread(step, at::kCPU);
  const at::Tensor frames = shades(7);
  EXPECT_TRUE(joined(given(thread, frames, {16, 1})).equal(frames)) << "the last one comes with the end";
  EXPECT_EQ(step.sizes, std::vector<int64_t>(7, 1));
  EXPECT_EQ(step.numbers, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(FrameStream, TakesWhatAStepGivesAtTheEndThroughTheStepsBehindIt) {
  const c10::InferenceMode inference;
  Holding first, second;
  const std::vector<FrameStep*> steps = {&first, &second};
  std::vector<Frames> all;
  FrameStream stream(steps, [&](const Frames& some) { all.push_back(some); }, {16, 1});
  const at::Tensor frames = shades(3);
  for (int64_t i = 0; i < 3; ++i) stream.push(frames.narrow(0, i, 1));
  stream.end();
  EXPECT_EQ(second.numbers, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(joined(all).equal(frames));
}

TEST(Scene, OfEqualFramesIsOneAndOfOthersBelow) {
  const at::Tensor picture = moving_picture(1, 40, 56)[0].contiguous();
  EXPECT_NEAR(similarity(small_frame(picture), small_frame(picture)), 1, 1e-12);
  const at::Tensor inverse = (255 - picture).contiguous();
  EXPECT_LT(similarity(small_frame(picture), small_frame(inverse)), 0.2);
  EXPECT_EQ(pair_of(picture, picture), Pair::Still);
  EXPECT_EQ(pair_of(picture, inverse), Pair::Cut);
  const at::Tensor frames = shades(2);
  EXPECT_EQ(pair_of(frames[0], frames[1]), Pair::Moving);
}

TEST(Scene, StandsWhereNoValueDiffersByMoreThanTwoLevels) {
  at::manual_seed(5);
  const at::Tensor picture = moving_picture(1, 40, 56)[0].clamp_max(250).contiguous(),
                   near = picture + at::randint(0, 3, picture.sizes(), at::kByte);
  EXPECT_EQ(pair_of(picture, near), Pair::Still);
  EXPECT_EQ(pair_of(near, picture), Pair::Still);
  const at::Tensor other = picture.clone();
  other[39][55][2].add_(3);  // the last one
  EXPECT_EQ(pair_of(picture, other), Pair::Moving);
  EXPECT_EQ(pair_of(other, picture), Pair::Moving);
  EXPECT_THROW(pair_of(picture, picture.narrow(0, 0, 39)), std::invalid_argument);
}

TEST(Scene, SmallFramesAreATensBilinear) {
  const at::Tensor picture = moving_picture(1, 45, 70)[0].contiguous();
  const at::Tensor want = at::upsample_bilinear2d(picture.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).div(255),
                                                  {32, 32}, /*align_corners=*/false);
  const SmallFrame small = small_frame(picture);
  const at::Tensor got = at::from_blob(const_cast<float*>(small.values.data()), {1, 3, 32, 32});
  EXPECT_TRUE(at::allclose(got, want, 0, 1e-6));  // float32, another order of sums
}

TEST(Scene, SimilarityIsThatOfAConvolution) {
  const at::Tensor frames = moving_picture(2, 64, 64);
  const SmallFrame small_a = small_frame(frames[0].contiguous()), small_b = small_frame(frames[1].contiguous());
  const auto volume = [](const SmallFrame& small) {
    return at::from_blob(const_cast<float*>(small.values.data()), {1, 1, 3, 32, 32}).to(at::kDouble);
  };
  const at::Tensor taps = at::exp(-(at::arange(11, at::kDouble) - 5).square() / 4.5);
  const at::Tensor line = taps / taps.sum();
  const at::Tensor window =
      (line.view({11, 1, 1}) * line.view({1, 11, 1}) * line.view({1, 1, 11})).view({1, 1, 11, 11, 11});
  const auto mean = [&](const at::Tensor& x) {
    return at::conv3d(at::replication_pad3d(x, {5, 5, 5, 5, 5, 5}), window);
  };
  const at::Tensor a = volume(small_a), b = volume(small_b), ma = mean(a), mb = mean(b);
  const at::Tensor variance = mean(a * a) - ma * ma + mean(b * b) - mb * mb, covariance = mean(a * b) - ma * mb;
  const at::Tensor map =
      (2 * ma * mb + 1e-4) * (2 * covariance + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (variance + 9e-4));
  EXPECT_NEAR(similarity(small_a, small_b), map.mean().item<double>(), 1e-9);
}

TEST(Tiles, CoverASideAndOverlap) {
  EXPECT_EQ(tile_spans(300, 300, 128), (std::vector<TileSpan>{{0, 300}}));
  for (int64_t length : {400, 1000, 1280, 2160})
    for (int64_t most : {256, 384, 640}) {
      const std::vector<TileSpan> spans = tile_spans(length, most, 128);
      EXPECT_EQ(spans.front().start, 0);
      EXPECT_EQ(spans.back().start + spans.back().size, length);
      for (size_t i = 1; i < spans.size(); ++i)
        EXPECT_GE(spans[i - 1].start + spans[i - 1].size - spans[i].start, 128) << length << " by " << most;
      EXPECT_LE(spans[0].size, std::max<int64_t>(most, 256));
    }
  const auto area = [](int64_t height, int64_t width) { return uint64_t(height * width); };
  EXPECT_TRUE(tile_grid(720, 1280, 720 * 1280, area).is_whole());
  const TileGrid grid = tile_grid(720, 1280, 512 * 512, area);
  EXPECT_LE(grid.rows[0].size * grid.columns[0].size, 512 * 512);
}

TEST(Tiles, OfWhatIsAloneInEachPixelAreTheWhole) {
  at::manual_seed(6);
  const at::Tensor a = at::rand({1, 3, 500, 700}), b = at::rand({1, 3, 500, 700});
  const Mixing whole, cut;
  const auto area = [](int64_t height, int64_t width) { return uint64_t(height * width); };
  const TiledInterpolator tiled(cut, tile_grid(500, 700, 300 * 400, area));
  const at::Tensor want = whole.between(*whole.frame(a), *whole.frame(b), 0.25);
  EXPECT_TRUE(at::allclose(tiled.between(*tiled.frame(a), *tiled.frame(b), 0.25), want, 0, 1e-6));  // float32 weights
  EXPECT_LE(cut.largest, 300 * 400);
}

/// Gives each picture another shade: 0, then 1.
struct Shading : Mixing {
  at::Tensor between(const Frame& first, const Frame&, double) const override {
    return at::full_like(dynamic_cast<const Held&>(first).rgb, double(count++));
  }
  mutable int64_t count = 0;
};

TEST(Tiles, AreBlendedLinearlyOverWhatTheyShare) {
  const Shading network;
  const TiledInterpolator tiled(network, {{{0, 64}}, {{0, 256}, {128, 256}}});
  const at::Tensor frame = at::rand({1, 3, 64, 384});
  const at::Tensor line = tiled.between(*tiled.frame(frame), *tiled.frame(frame), 0.5)[0][0][0];
  EXPECT_EQ(line[127].item<float>(), 0);
  EXPECT_EQ(line[256].item<float>(), 1);
  const at::Tensor steps = line.diff().narrow(0, 127, 129);
  EXPECT_TRUE(at::allclose(steps, at::full_like(steps, 1. / 129), 0, 1e-6));  // float32
}

TEST(Steady, HasOneSlotForEachFrameThatComesAboutInTime) {
  int64_t repeated = 0, dropped = 0;
  const auto slots = [&](const std::vector<Rational>& times, Rational until, Rational rate) {
    SteadyFrames steady(rate);
    std::vector<int64_t> got;
    const auto give = [&](const at::Tensor& rgb) { got.push_back(rgb.item<int64_t>()); };
    for (size_t i = 0; i < times.size(); ++i) steady.take(at::scalar_tensor(int64_t(i), at::kLong), times[i], give);
    steady.end(until, give);
    repeated = steady.repeated(), dropped = steady.dropped();
    return got;
  };
  // Whole milliseconds at 30000/1001.
  EXPECT_EQ(slots({{0, 1000}, {33, 1000}, {67, 1000}, {100, 1000}}, {133, 1000}, {30000, 1001}),
            (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(repeated + dropped, 0);
  // A pause of two slots, and two frames in one.
  EXPECT_EQ(slots({{0, 10}, {1, 10}, {4, 10}, {5, 10}}, {6, 10}, {10, 1}), (std::vector<int64_t>{0, 1, 1, 2, 2, 3}));
  EXPECT_EQ(repeated, 2);
  EXPECT_EQ(dropped, 0);
  EXPECT_EQ(slots({{0, 100}, {4, 100}, {10, 100}}, {20, 100}, {10, 1}), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(repeated, 0);
  EXPECT_EQ(dropped, 1);
  EXPECT_EQ(slots({{0, 1}}, {1, 25}, {25, 1}), (std::vector<int64_t>{0}));
  // The last one is there however short it is shown.
  EXPECT_EQ(slots({{0, 10}, {1, 10}}, {12, 100}, {10, 1}), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(dropped, 0);
}

}  // namespace
}  // namespace wan
