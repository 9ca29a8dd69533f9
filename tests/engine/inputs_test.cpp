// What a request's media become: sizes that follow or are cut out, lengths that are cut or held, and kept sound.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/job/image_task.h"
#include "engine/job/video_task.h"
#include "engine/media/png.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "tests/engine/media_ffmpeg.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

/// The inputs of a request that names files.
Inputs load(const Request& request) {
  Silent silent;
  const InputFiles files = input_files(request, "", silent);
  Notes notes;
  return request.task == Task::I2V ? load_images(request, files, notes) : load_video(request, files, notes);
}

struct Scene {
  Request request(Task task, nlohmann::json more) const {
    nlohmann::json fields = {{"model", "absent"}, {"prompt", ""}, {"unlocked", true}};
    fields.update(more);
    return parse(task, fields, {.folder = folder.path()});
  }

  /// `frames` pictures of 64x32 at 8 a second, with as much sound.
  void write_clip(const std::string& name, int64_t frames) const {
    VideoWriter writer(folder / name, {.height = 32, .width = 64, .rate = {8, 1}, .audio = AudioFormat{8000, 1}});
    writer.write(moving_picture(frames, 32, 64));
    writer.write_audio(at::zeros({1, frames * 1000}));
    writer.finish();
  }

  TemporaryFolder folder;
};

/// 32 high, 96 wide: red, green and blue squares side by side.
at::Tensor three_squares() {
  at::Tensor rgb = at::zeros({32, 96, 3}, at::kByte);
  for (int64_t i = 0; i < 3; ++i) rgb.narrow(1, 32 * i, 32).select(2, i).fill_(255);
  return rgb;
}

TEST(LoadInputs, AutoFollowsTheImageAndKeepsAllOfIt) {
  const Scene scene;
  write_png(scene.folder / "squares.png", three_squares());
  const Request request = scene.request(Task::I2V, {{"image_url", "squares.png"}, {"resolution", "480p"}});
  const Inputs inputs = load(request);
  EXPECT_EQ(inputs.geometry.width, 1088);  // sqrt(399360 * 3) and sqrt(399360 / 3), down to multiples of 16
  EXPECT_EQ(inputs.geometry.height, 352);
  ASSERT_EQ(inputs.image.sizes(), (std::vector<int64_t>{3, 352, 1088}));
  EXPECT_TRUE(is_close(inputs.image.select(1, 176).select(1, 100), at::tensor({1.f, -1.f, -1.f}), 1e-5));
  EXPECT_TRUE(is_close(inputs.image.select(1, 176).select(1, 1000), at::tensor({-1.f, -1.f, 1.f}), 1e-5));
}

TEST(LoadInputs, AFixedShapeCutsTheMiddleOut) {
  const Scene scene;
  write_png(scene.folder / "squares.png", three_squares());
  const Request request = scene.request(
      Task::I2V, {{"image_url", "squares.png"}, {"last_image_url", "squares.png"}, {"width", 32}, {"height", 32}});
  const Inputs inputs = load(request);
  const at::Tensor green = at::tensor({-1.f, 1.f, -1.f}).view({3, 1, 1}).expand({3, 32, 32});
  EXPECT_TRUE(is_close(inputs.image, green, 1e-5));
  EXPECT_TRUE(is_close(inputs.last_image, green, 1e-5));
}

TEST(LoadInputs, HoldsTheLastFrameOfAShortVideo) {
  const Scene scene;
  scene.write_clip("short.mp4", 7);
  const Request request = scene.request(Task::V2V, {{"video_url", "short.mp4"}, {"width", 64}, {"height", 32}});
  const Inputs inputs = load(request);
  EXPECT_EQ(inputs.geometry.num_frames, 7);
  ASSERT_EQ(inputs.video.size(0), 9);
  EXPECT_TRUE(at::equal(inputs.video[7], inputs.video[6]));
  EXPECT_TRUE(at::equal(inputs.video[8], inputs.video[6]));
  EXPECT_FALSE(at::equal(inputs.video[5], inputs.video[6]));
}

TEST(LoadInputs, NamesTheLongestVideoPossible) {
  const Scene scene;
  scene.write_clip("short.mp4", 7);
  const Request request =
      scene.request(Task::V2V, {{"video_url", "short.mp4"}, {"width", 64}, {"height", 32}, {"num_frames", 9}});
  try {
    load(request);
    FAIL() << "9 frames of 7";
  } catch (const InvalidRequest& error) {
    EXPECT_EQ(error.errors.at(0).field, "num_frames");
    EXPECT_NE(error.errors.at(0).wrong.find("at most 7"), std::string::npos) << error.what();
    EXPECT_TRUE(error.errors.at(0).wrong.ends_with(", got 9; left out, it is 7")) << error.what();
  }
}

TEST(LoadInputs, CutsALongVideo) {
  const Scene scene;
  scene.write_clip("long.mp4", 12);
  const Request request =
      scene.request(Task::V2V, {{"video_url", "long.mp4"}, {"width", 64}, {"height", 32}, {"num_frames", 5}});
  EXPECT_EQ(load(request).video.size(0), 5);
}

TEST(LoadInputs, WhatNobodyAskedToLeaveOutOfALongVideoIsTold) {
  const Scene scene;
  scene.write_clip("long.mp4", 100);
  nlohmann::json asked = {{"video_url", "long.mp4"}, {"width", 64}, {"height", 32}};
  const auto told = [&] {
    const Request request = scene.request(Task::V2V, asked);
    InputFiles files;
    files.video = {request.video_url, "video_url"};
    Notes notes;
    load_video(request, files, notes);
    for (const Note& note : notes.list())
      if (note.subject == "num_frames") return note.text;
    return std::string();
  };
  EXPECT_EQ(told(), "the first 81 frames of the video are used, and it has more: it lasts 12.50 s");
  asked["num_frames"] = 81;
  EXPECT_EQ(told(), "");
  asked.erase("num_frames");
  scene.write_clip("long.mp4", 81);
  EXPECT_EQ(told(), "");
}

TEST(LoadInputs, ResamplesToTheRateOfTheFile) {
  const Scene scene;
  scene.write_clip("clip.mp4", 8);
  const Request request =
      scene.request(Task::V2V, {{"video_url", "clip.mp4"}, {"width", 64}, {"height", 32}, {"resample_fps", true}});
  const Inputs inputs = load(request);
  EXPECT_EQ(inputs.geometry.num_frames, 16);  // one second, at 16 frames
  EXPECT_TRUE(at::equal(inputs.video[0], inputs.video[1]));
  EXPECT_FALSE(at::equal(inputs.video[1], inputs.video[2]));
}

TEST(LoadInputs, KeepsTheSoundOfAnUnchangedSpeed) {
  const Scene scene;
  scene.write_clip("clip.mp4", 5);
  auto kept = [&](nlohmann::json more) {
    more.update({{"video_url", "clip.mp4"}, {"width", 64}, {"height", 32}});
    const Request request = scene.request(Task::V2V, more);
    return !load(request).keep_audio_from.empty();
  };
  EXPECT_TRUE(kept({{"frames_per_second", 8}}));
  EXPECT_FALSE(kept({{"frames_per_second", 16}}));
  EXPECT_TRUE(kept({{"frames_per_second", 16}, {"resample_fps", true}}));
  EXPECT_FALSE(kept({{"frames_per_second", 8}, {"keep_audio", false}}));
}

/// What is told of a video, and whether its sound is kept.
struct Loaded {
  std::vector<Note> notes;
  bool sound;
  bool tells(const std::string& subject, const std::string& words) const {
    return std::any_of(notes.begin(), notes.end(), [&](const Note& note) {
      return note.subject == subject && note.text.find(words) != std::string::npos;
    });
  }
};

Loaded loaded(const Scene& scene, nlohmann::json more) {
  more.update({{"width", 64}, {"height", 32}});
  const Request request = scene.request(Task::V2V, more);
  Notes notes;
  Silent silent;
  const bool sound = !load_video(request, input_files(request, "", silent), notes).keep_audio_from.empty();
  return {notes.list(), sound};
}

TEST(LoadInputs, FramesAtOtherTimesAreToldAndLoseTheSound) {
  const Scene scene;
  // 16 frames a second, then 8 and then 32: 16 on average.
  ffmpeg(
      "-f lavfi -i color=gray:s=64x32:r=32:d=3 -f lavfi -i sine=d=3 -vf "
      "\"select='lt(t,1)*not(mod(n,2))+gte(t,1)*lt(t,2)*not(mod(n,4))+gte(t,2)'\" -vsync vfr -c:v libx264 " +
      (scene.folder / "uneven.mkv").string());
  for (const bool sound : {true, false}) {
    const Loaded uneven = loaded(scene, {{"video_url", "uneven.mkv"}, {"keep_audio", sound}, {"num_frames", 49}});
    EXPECT_FALSE(uneven.sound);
    EXPECT_TRUE(uneven.tells("video_url", "every frame of the video is shown at 16 a second, it has"));
    EXPECT_EQ(uneven.tells("keep_audio", "the sound is left out: it lasts"), sound);
  }
  // Its beginning has the output's times, and no more of it is looked at.
  EXPECT_TRUE(loaded(scene, {{"video_url", "uneven.mkv"}, {"num_frames", 13}}).sound);
  const Loaded resampled = loaded(scene, {{"video_url", "uneven.mkv"}, {"resample_fps", true}});
  EXPECT_TRUE(resampled.sound);
  EXPECT_FALSE(resampled.tells("video_url", "every frame"));
}

TEST(LoadInputs, AnotherSpeedIsToldAlsoWithoutSound) {
  const Scene scene;
  ffmpeg("-f lavfi -i color=gray:s=64x32:r=30:d=1 -c:v libx264 " + (scene.folder / "fast.mp4").string());
  const Loaded fast = loaded(scene, {{"video_url", "fast.mp4"}, {"num_frames", 17}});
  EXPECT_TRUE(
      fast.tells("video_url",
                 "every frame of the video is shown at 16 a second, it has 30.00 on average: 17 frames last 1.06 s "
                 "instead of 0.57 s, 0.53 times the speed"));
  EXPECT_FALSE(fast.tells("keep_audio", ""));
}

TEST(LoadInputs, NearlyEqualRatesKeepTheSound) {
  const Scene scene;
  ffmpeg("-f lavfi -i color=gray:s=64x32:r=30000/1001:d=1 -f lavfi -i sine=d=1 -c:v libx264 " +
         (scene.folder / "ntsc.mp4").string());
  const Loaded ntsc = loaded(scene, {{"video_url", "ntsc.mp4"}, {"frames_per_second", 30}});
  EXPECT_TRUE(ntsc.sound);
  EXPECT_FALSE(ntsc.tells("video_url", "every frame"));
}

}  // namespace
}  // namespace wan
