// Which frames of a pose video a speech job takes.
#include "engine/speech/pose_video.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

struct Taken {
  std::vector<int64_t> frames;
  std::vector<std::string> notes;
};

/// The first frames that are taken of a video of 10 a second, whose frame k has the grey level 40 + 20 k.
Taken taken(const std::string& preset, int64_t fps, int64_t skipped = 0) {
  Request request;
  request.preset = preset;
  request.frames_per_second = fps;
  PoseVideo pose({media_file("upright.mp4"), "pose_video_url"}, request, 18, 32);
  Taken result;
  pose.skip(skipped);
  const at::Tensor frames = pose.next(6);
  for (int64_t i = 0; i < frames.size(1); ++i) {
    const double level = (frames[1][i][9][16].item<double>() + 1) * 127.5;
    result.frames.push_back(std::llround((level - 40) / 20));
  }
  Notes notes;
  pose.tell(notes);
  for (const Note& note : notes.list())
    if (note.text.find("pose video") != std::string::npos) result.notes.push_back(note.text);
  return result;
}

TEST(PoseVideo, GoesByTime) {
  EXPECT_EQ(taken("hosted", 16).frames, (std::vector<int64_t>{0, 0, 1, 1, 2, 3}));
  EXPECT_EQ(taken("hosted", 16, 3).frames, (std::vector<int64_t>{1, 2, 3, 3, 4, 5}));
  EXPECT_EQ(taken("hosted", 4).frames, (std::vector<int64_t>{0, 2, 5, 7}));
  EXPECT_EQ(
      taken("hosted", 16).notes,
      (std::vector<std::string>{"the pose video has 10.00 frames a second, the output 16: the one shown at each output "
                                "frame's time is taken"}));
  EXPECT_TRUE(taken("hosted", 10).notes.empty());
}

TEST(PoseVideo, TheReferenceTakesEveryKth) {
  EXPECT_EQ(taken("reference", 16).frames, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(taken("reference", 4).frames, (std::vector<int64_t>{0, 2, 4, 6}));  // 2.5 is rounded to even
  EXPECT_EQ(
      taken("reference", 4).notes,
      (std::vector<std::string>{"the pose video has 10.00 frames a second, the output 4: one of 2 is taken, as the "
                                "reference code does; poses run 0.80 times as fast as the speech"}));
}

/// What is told of the end in a video of so many seconds.
std::string end_note(const std::string& preset, int64_t fps, double seconds) {
  Request request;
  request.preset = preset;
  request.frames_per_second = fps;
  Notes notes;
  PoseVideo({media_file("upright.mp4"), "pose_video_url"}, request, 18, 32).note_end(seconds, notes);
  return notes.list().empty() ? "" : notes.list()[0].text.substr(0, notes.list()[0].text.find(" pictures"));
}

TEST(PoseVideo, AnEndBeforeThatOfTheVideoIsTold) {
  EXPECT_EQ(end_note("hosted", 16, 0.8), "");
  EXPECT_EQ(end_note("hosted", 16, 0.85), "");
  EXPECT_EQ(end_note("hosted", 16, 2.5), "the pose video ends after 0.80 s, the video after 2.50 s: black");
  // Eight frames, each one or every second one of them, at the output's rate.
  EXPECT_EQ(end_note("reference", 16, 2.5), "the pose video ends after 0.50 s, the video after 2.50 s: black");
  EXPECT_EQ(end_note("reference", 4, 1), "");
  EXPECT_EQ(end_note("reference", 4, 2.5), "the pose video ends after 1.00 s, the video after 2.50 s: black");
}

}  // namespace
}  // namespace wan
