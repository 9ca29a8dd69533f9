// Videos compared frame by frame: values of another implementation, and what becomes of files that do not go together.
#include "engine/compare/compare.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "engine/base/error.h"
#include "engine/compare/fidelity.h"
#include "engine/compare/frame_source.h"
#include "engine/compare/lpips_file.h"
#include "engine/media/png.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/engine/media_ffmpeg.h"
#include "tests/support.h"
#include "tests/support/lpips_weights.h"

namespace wan {
namespace {

const std::string kGolden = WAN_SOURCE_DIR "/tests/golden/compare/";
const std::string kA = kGolden + "a.mkv", kB = kGolden + "b.mkv";
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Recorded : Progress {
  void at(const Report& report) override { reports.push_back(report); }
  std::vector<Report> reports;
};

Comparison compared(const std::string& a, const std::string& b, const lpips::Model* lpips = nullptr) {
  const c10::InferenceMode inference;
  Recorded progress;
  return compare_videos({a, "A"}, {b, "B"}, lpips, {}, progress);
}

/// What is refused, with the field; empty where nothing is.
std::string refusal(const std::string& a, const std::string& b, const lpips::Model* lpips = nullptr) {
  try {
    compared(a, b, lpips);
    return "";
  } catch (const InvalidRequest& invalid) {
    return invalid.errors.at(0).line();
  }
}

std::string notes_of(const Comparison& comparison) {
  std::string text;
  for (const Note& note : comparison.notes) text += "[" + note.subject + "] " + note.text + "\n";
  return text;
}

class Compare : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  /// The golden video a.mkv, changed by ffmpeg.
  std::string made(const std::string& name, const std::string& arguments) const {
    ffmpeg("-i " + kA + " " + arguments + " " + file(name));
    return file(name);
  }
  /// Runs the command of ffmpeg that a refusal ends with, where the files lie.
  void follow(const std::string& refused) const {
    const size_t at = refused.find("ffmpeg ");
    ASSERT_NE(at, std::string::npos) << refused;
    const std::string command = "cd '" + folder_.path().string() + "' && ffmpeg -nostdin -loglevel error -y " +
                                refused.substr(at + std::string("ffmpeg ").size());
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  std::string weights(const std::string& name, const NamedTensors& tensors) const {
    write_safetensors(file(name), tensors);
    return file(name);
  }

  TemporaryFolder folder_;
};

}  // namespace

TEST_F(Compare, EachFrameHasTheValuesOfScikitImage) {
  const Checkpoint golden = Checkpoint::open(kGolden + "expected.safetensors");
  const at::Tensor errors = golden.map("video.mse"), similar = golden.map("video.ssim"),
                   by_ffmpeg = golden.map("video.ffmpeg_psnr");
  const Comparison found = compared(kA, kB);
  ASSERT_EQ(found.times.size(), 12u);
  ASSERT_EQ(found.measures.size(), 2u);
  EXPECT_EQ(found.measures[0].name, "psnr");
  EXPECT_EQ(found.measures[1].name, "ssim");
  for (int64_t i = 0; i < 12; ++i) {
    SCOPED_TRACE(i);
    const double error = errors[i].item<double>(), got = found.measures[0].values[size_t(i)];
    EXPECT_DOUBLE_EQ(found.times[size_t(i)], double(i) / 10);
    EXPECT_NEAR(found.measures[1].values[size_t(i)], similar[i].item<double>(), 1e-11);
    if (error == 0) {
      EXPECT_EQ(got, kInfinity);
      EXPECT_EQ(found.measures[1].values[size_t(i)], 1);
    } else {
      EXPECT_NEAR(got, psnr(error), 1e-11);
      EXPECT_NEAR(got, by_ffmpeg[i].item<double>(), .00501) << "ffmpeg prints two decimals";
    }
  }
  EXPECT_NEAR(found.mean_squared_error, errors.mean().item<double>(), 1e-9);
  EXPECT_EQ(found.equal_frames, 1);
  const Summary summary = found.measures[0].summary(found.times);
  EXPECT_EQ(*summary.worst, 7u) << "half of it is black";
  EXPECT_EQ(summary.counted, 11u);
  EXPECT_LT(*summary.per_second, 0) << "the noise grows";
  EXPECT_EQ(notes_of(found), "");
  EXPECT_EQ(found.a.info.frames, 12);
  EXPECT_EQ(found.a.name, "a.mkv");
}

TEST_F(Compare, LpipsOfEachFrame) {
  const c10::InferenceMode inference;
  const auto model = load_lpips({weights("lpips.safetensors", lpips_whole(lpips::Backbone::AlexNet))});
  const Comparison found = compared(kA, kB, model.get());
  ASSERT_EQ(found.measures.size(), 3u);
  const Measure& measure = found.measures[2];
  EXPECT_EQ(measure.name, "lpips");
  EXPECT_EQ(measure.shown, "LPIPS (AlexNet)");
  EXPECT_EQ(measure.values[3], 0) << "equal frames";
  EXPECT_EQ(*measure.summary(found.times).worst, 7u);
  FrameSource a({kA, "A"}), b({kB, "B"});
  const at::Tensor first = a.next()->rgb, second = b.next()->rgb;
  EXPECT_EQ(measure.values[0], model->distance(first, second));
  EXPECT_GT(measure.values[0], 0);
}

TEST_F(Compare, LpipsThatIsNoNumberIsRefused) {
  const c10::InferenceMode inference;
  NamedTensors whole = lpips_whole(lpips::Backbone::AlexNet);
  // Finite, as weights must be; of any pixel half of the first features are infinite.
  at::Tensor huge = at::full({64, 3, 11, 11}, 1e38);
  huge.narrow(0, 0, 32).neg_();
  whole["net.slice1.0.weight"] = huge;
  const auto model = load_lpips({weights("huge.safetensors", whole)});
  try {
    compared(kA, kB, model.get());
    ADD_FAILURE() << "was taken";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("gives none of frame 0"), std::string::npos) << error.what();
  }
}

TEST_F(Compare, OfAFileWithItselfAllIsEqual) {
  const Comparison found = compared(kA, kA);
  EXPECT_EQ(found.equal_frames, 12);
  EXPECT_EQ(found.mean_squared_error, 0);
  EXPECT_EQ(found.measures[0].values, std::vector<double>(12, kInfinity));
  EXPECT_EQ(found.measures[1].values, std::vector<double>(12, 1));
}

TEST_F(Compare, OfAnotherLengthTheCommonFramesAreCompared) {
  const std::string shorter = made("short.mkv", "-frames:v 5 -c:v copy");
  for (const auto& [a, b] : {std::pair(kB, shorter), std::pair(shorter, kB)}) {
    const Comparison found = compared(a, b);
    EXPECT_EQ(found.times.size(), 5u);
    EXPECT_EQ(found.measures[1].values.size(), 5u);
    EXPECT_EQ(found.a.info.frames, a == kB ? 12 : 5);
    EXPECT_EQ(found.b.info.frames, a == kB ? 5 : 12);
    EXPECT_EQ(notes_of(found), a == kB ? "[A] has 12 frames, B 5: the first 5 are compared\n"
                                       : "[B] has 12 frames, A 5: the first 5 are compared\n");
  }
}

TEST_F(Compare, OtherSizesAndRatesAreRefusedWithTheWayOut) {
  EXPECT_EQ(refusal(kA, made("small.mkv", "-vf scale=40:36 -c:v ffv1")),
            "[B] must have the size of A, 48x36, has 40x36; scale one of them first: ffmpeg -i 'small.mkv' -vf "
            "scale=48:36,setsar=1 -c:v ffv1 scaled.mkv");
  const std::string fast = made("fast.mkv", "-vf fps=20 -c:v ffv1"),
                    way =
                        "bring the faster one to the rate of the other first: ffmpeg -i 'fast.mkv' -vf "
                        "fps=20,fps=10:round=up -c:v ffv1 other.mkv";
  EXPECT_EQ(refusal(kA, fast), "[B] must have the rate of A, 10 frames a second, has 20; " + way);
  EXPECT_EQ(refusal(fast, kA), "[B] must have the rate of A, 20 frames a second, has 10; " + way);
  const std::string tiny = made("tiny.mkv", "-vf scale=48:10 -c:v ffv1");
  EXPECT_EQ(refusal(tiny, tiny),
            "[A] must have sides of at least 11 pixels, as the window of SSIM has, has 48x10; enlarge both first");
  const c10::InferenceMode inference;
  const auto model = load_lpips({weights("lpips.safetensors", lpips_whole(lpips::Backbone::AlexNet))});
  const std::string low = made("low.mkv", "-vf scale=48:30 -c:v ffv1");
  EXPECT_EQ(refusal(low, low, model.get()),
            "[lpips] of AlexNet takes sides of at least 31 pixels, A has 48x30; leave --lpips out");
  EXPECT_EQ(refusal(low, low), "");
  EXPECT_TRUE(refusal(kA, low).starts_with("[B] must have the size of A, 48x36, has 48x30; ")) << refusal(kA, low);
}

TEST_F(Compare, WhatIsAdvisedMakesFilesThatGoTogether) {
  const std::string wide = made("wide.mkv", "-vf setsar=2 -c:v ffv1");
  follow(refusal(kA, wide));
  EXPECT_EQ(refusal(kA, file("scaled.mkv")), "") << "its pixels are square";
  // Others between the frames of the slower one, at times that Matroska rounds to milliseconds.
  const std::string slow = made("slow.mkv", "-vf setpts=N/16/TB -r 16 -c:v ffv1"),
                    fast = made("fast.mkv",
                                "-vf \"setpts=N/16/TB,fps=32,format=gbrp,negate=enable='mod(n,2)'\" -c:v ffv1");
  for (const std::string& text : {refusal(slow, fast), refusal(fast, slow)}) {
    follow(text);
    const Comparison found = compared(slow, file("other.mkv"));
    EXPECT_EQ(found.equal_frames, 12);
    EXPECT_EQ(notes_of(found), "");
  }
}

TEST_F(Compare, RatesThatHardlyDifferAndOtherTimesAreNoted) {
  // 10 a second against 9.95: the last of twelve frames is 0.006 s late.
  const Comparison near = compared(kA, made("near.mp4", "-vf setpts=PTS*10/9.95 -r 199/20 -c:v libx264rgb -qp 0"));
  EXPECT_EQ(near.equal_frames, 12) << "without loss";
  EXPECT_EQ(
      notes_of(near),
      "[B] its rate is stated as 9.95 frames a second, that of A as 10: frames are compared by their numbers, at the "
      "times of A\n");
  // From frame 6 on everything is 0.1 s later, and the rate is stated as 10 all the same.
  const Comparison late =
      compared(kA, made("late.mkv", "-vf 'setpts=if(gte(N\\,6)\\,N+1\\,N)/10/TB' -fps_mode passthrough -c:v ffv1"));
  EXPECT_EQ(late.equal_frames, 12);
  EXPECT_NE(
      notes_of(late).find("[B] its frames stand at other times than those of A, first frame 6 at 0.7 s in place of "
                          "0.6 s: they are compared by their numbers\n"),
      std::string::npos)
      << notes_of(late);
}

TEST_F(Compare, FilesOfAnyFormatAreComparedAsTheyAreShown) {
  EXPECT_EQ(compared(kA, made("rgb.avi", "-c:v rawvideo -pix_fmt bgr24")).equal_frames, 12);
  // Turned by a quarter, as the container says.
  const std::string upright = media_file("upright.mp4"), turned = media_file("rotated90.mp4");
  EXPECT_EQ(compared(turned, turned).a.info.width, compared(upright, upright).a.info.height);
  EXPECT_TRUE(refusal(upright, turned).starts_with("[B] must have the size of A, ")) << refusal(upright, turned);
  // 10 bits and 4:2:0: near, not equal.
  const Comparison coded = compared(kA, made("coded.mp4", "-c:v libx264 -qp 4 -pix_fmt yuv420p10le"));
  EXPECT_EQ(coded.equal_frames, 0);
  EXPECT_GT(*coded.measures[1].summary(coded.times).mean, .9);
  EXPECT_LT(*coded.measures[1].summary(coded.times).mean, 1);
}

TEST_F(Compare, PicturesAreVideosOfOneFrame) {
  FrameSource source({kB, "B"});
  write_png(file("b.png"), source.next()->rgb);
  const Comparison one = compared(file("b.png"), file("b.png"));
  EXPECT_EQ(one.equal_frames, 1);
  EXPECT_TRUE(one.a.is_picture);
  const Comparison first = compared(kA, file("b.png")), whole = compared(kA, kB);
  ASSERT_EQ(first.times, std::vector<double>{0});
  EXPECT_EQ(first.measures[1].values[0], whole.measures[1].values[0]);
  EXPECT_EQ(notes_of(first), "[A] has 12 frames, B 1: the first is compared\n");
}

TEST_F(Compare, AGifIsAVideo) {
  const std::string gif = made("a.gif", "-frames:v 3 -c:v gif -pix_fmt rgb8");
  const Comparison found = compared(gif, gif);
  EXPECT_FALSE(found.a.is_picture);
  EXPECT_EQ(found.times.size(), 3u);
  EXPECT_EQ(found.equal_frames, 3);
}

TEST_F(Compare, FilesThatCannotBeReadAreNamed) {
  write_bytes(file("text.mp4"), "no video");
  EXPECT_TRUE(refusal(kA, file("text.mp4")).starts_with("[B] must be a video, got ")) << refusal(kA, file("text.mp4"));
  EXPECT_TRUE(refusal(file("absent.mp4"), kA).starts_with("[A] must be a video, got "))
      << refusal(file("absent.mp4"), kA);
  // Cut off: what is there is compared, and what is lost is told.
  const std::string whole = bytes_of(kB);
  write_bytes(file("cut.mkv"), whole.substr(0, whole.size() / 2));
  const Comparison cut = compared(kA, file("cut.mkv"));
  EXPECT_LT(cut.times.size(), 12u);
  EXPECT_GT(cut.times.size(), 0u);
  EXPECT_NE(notes_of(cut).find("[A] has 12 frames, B "), std::string::npos) << notes_of(cut);
  size_t of_b = 0;
  for (const Note& note : cut.notes) of_b += note.subject == "B";
  EXPECT_GT(of_b, 0u) << notes_of(cut);
}

TEST_F(Compare, IsAskedBeforeEachFrameAndCanBeStopped) {
  struct Stop : Recorded {
    void at(const Report& report) override {
      Recorded::at(report);
      if (report.step == 4) throw Cancelled();
    }
  } stop;
  const c10::InferenceMode inference;
  EXPECT_THROW(compare_videos({kA, "A"}, {kB, "B"}, nullptr, {}, stop), Cancelled);
  ASSERT_EQ(stop.reports.size(), 5u);
  EXPECT_EQ(stop.reports[2].stage, Stage::Compare);
  EXPECT_EQ(stop.reports[2].step, 2);
  EXPECT_EQ(stop.reports[2].steps, 12);
}

namespace {

std::string refused_weights(const std::vector<std::string>& files) {
  try {
    load_lpips(files);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

TEST_F(Compare, WeightsOfLpipsMayComeInTwoFilesInEitherOrder) {
  const std::string features = weights("alexnet.safetensors", lpips_features(lpips::Backbone::AlexNet, true));
  const std::string heads = kGolden + "alex_heads.pth";
  const c10::InferenceMode inference;
  FrameSource a({kA, "A"}), b({kB, "B"});
  const at::Tensor first = a.next()->rgb, second = b.next()->rgb;
  const double one =
      load_lpips({weights("one.safetensors", lpips_whole(lpips::Backbone::AlexNet))})->distance(first, second);
  EXPECT_EQ(load_lpips({features, heads})->distance(first, second), one);
  EXPECT_EQ(load_lpips({heads, features})->distance(first, second), one);
}

TEST_F(Compare, WeightsThatAreNoneAreToldAsWhatTheyAre) {
  const NamedTensors whole = lpips_whole(lpips::Backbone::AlexNet);
  const std::string all = weights("all.safetensors", whole);
  const std::string features = weights("alexnet.safetensors", lpips_features(lpips::Backbone::AlexNet, true));
  const std::string heads = kGolden + "alex_heads.pth";
  const std::string of_vgg = weights("vgg_heads.safetensors", lpips_heads(lpips::Backbone::Vgg16));
  NamedTensors broken = whole;
  broken["net.slice3.6.bias"] = broken["net.slice3.6.bias"].clone().fill_(NAN);
  const struct {
    std::vector<std::string> files;
    const char* part;
  } cases[] = {
      {{file("absent.safetensors")}, "absent.safetensors"},
      {{weights("other.safetensors", {{"block0.conv0.0.0.weight", at::zeros({2, 2})}})},
       "must be weights of LPIPS, is: RIFE frame interpolation; one file has"},
      {{heads}, "has only the linear layers; name the backbone's file, too"},
      {{features}, "has only the backbone; name the file of the linear layers, too"},
      {{features, all}, "all.safetensors] has backbone and linear layers"},
      {{features, features}, "must be the linear layers, is another backbone"},
      {{heads, heads}, "must be the backbone, is another file of linear layers"},
      {{features, of_vgg}, "must be of the network of the first file, AlexNet, is of VGG16"},
      {{heads, features, all}, "must be one file or two, got 3"},
      {{weights("broken.safetensors", broken)},
       "broken.safetensors: net.slice3.6.bias] must be finite, has NaN or Inf"},
      {{weights("squeeze.safetensors", {{"features.0.weight", at::zeros({64, 3, 3, 3})}})},
       "must be of AlexNet or VGG16, is of another network, such as SqueezeNet"},
  };
  for (const auto& wrong : cases) {
    const std::string text = refused_weights(wrong.files);
    EXPECT_NE(text.find(wrong.part), std::string::npos) << wrong.part << "\n" << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

}  // namespace wan
