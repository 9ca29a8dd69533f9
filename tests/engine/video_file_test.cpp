// The file of a job against its frames, written by a writer without a thread: all of them, each in its place.
#include "engine/job/video_file.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "engine/media/metadata.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "engine/residency/not_finite.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

const std::filesystem::path kModel = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

class VideoFile : public testing::Test {
 protected:
  VideoFile() {
    const nlohmann::json fields = {{"task", "t2v"},
                                   {"model", kModel.string()},
                                   {"prompt", "a red circle"},
                                   {"unlocked", true},
                                   {"width", 32},
                                   {"height", 48},
                                   {"num_frames", 13},
                                   {"seed", 1},
                                   {"device", "cpu"},
                                   {"out", out_.string()}};
    record_ = make_record(parse(fields, {.folder = folder_.path()}), Placement{}, {});
  }

  std::string bytes() const { return bytes_of(out_.string()); }
  /// Those of a file of these frames with the job's settings and metadata.
  std::string bytes_of_frames(const at::Tensor& frames) const {
    const Request& request = record_.request;
    const std::string path = folder_ / "plain.mp4";
    VideoWriter writer(path, {.height = frames.size(1),
                              .width = frames.size(2),
                              .rate = {request.frames_per_second, 1},
                              .quality = request.video_quality,
                              .write_mode = request.video_write_mode,
                              .metadata = read_metadata({out_.string(), "out"})});
    writer.write(frames);
    writer.finish();
    return bytes_of(path);
  }

  TemporaryFolder folder_;
  const std::filesystem::path out_ = folder_ / "a.mp4";
  Record record_;

 private:
  c10::InferenceMode inference_;
};

TEST_F(VideoFile, HasEachDecodedFrameInItsPlace) {
  at::manual_seed(4);
  // Of the four frames that the last latent frame adds three are kept.
  const SavedLatents saved = {.latents = at::randn({16, 4, 6, 4}), .frames = 12, .audio_from = "", .record = record_};
  Networks networks(parts_of(kModel, Task::T2V), Placement{}, Networks::Keep::All, Log{});
  QuietRun quiet;
  write_video(networks, saved, out_.string(), {}, quiet);
  std::vector<at::Tensor> pieces;
  decode_frames(networks, saved.latents, saved.frames, quiet, [&](const at::Tensor& rgb) { pieces.push_back(rgb); });
  const at::Tensor frames = at::cat(pieces);
  ASSERT_EQ(frames.size(0), 12);
  for (int64_t i = 1; i < 12; ++i) {
    EXPECT_FALSE(frames[i].equal(frames[i - 1])) << "an order that would not show";
  }
  EXPECT_TRUE(bytes() == bytes_of_frames(frames));
}

TEST_F(VideoFile, HasNoPictureOfNaN) {
  at::Tensor latents = at::zeros({16, 2, 6, 4});
  latents.select(1, 1).fill_(std::numeric_limits<float>::quiet_NaN());
  Networks networks(parts_of(kModel, Task::T2V), Placement{}, Networks::Keep::All, Log{});
  QuietRun quiet;
  int64_t given = 0;
  try {
    decode_frames(networks, latents, 5, quiet, [&](const at::Tensor& rgb) { given += rgb.size(0); });
    ADD_FAILURE() << "not refused";
  } catch (const NotFinite& error) {
    EXPECT_NE(std::string(error.what()).find("chunk 2 of 2"), std::string::npos) << error.what();
  }
  EXPECT_EQ(given, 1);
}

TEST_F(VideoFile, OfAnInputThatStaysAsItIsHasItsFrames) {
  const at::Tensor video = moving_picture(16, 48, 32);
  const Inputs inputs = {.geometry = {.width = 32, .height = 48, .num_frames = 13}, .video = video};
  write_input(record_, inputs, out_.string(), {});
  EXPECT_TRUE(bytes() == bytes_of_frames(video.narrow(0, 0, 13)));
}

TEST_F(VideoFile, LateSoundOfTheInputIsNoOffsetWhetherItIsCopiedOrEncoded) {
  const std::string clip = folder_ / "clip.mp4";
  {
    VideoWriter writer(clip, {.height = 48, .width = 32, .audio = AudioFormat{16000, 1}});
    writer.write(moving_picture(32, 48, 32));
    writer.write_audio(at::rand({1, 32000}) - 0.5);
    writer.finish();
  }
  FrameChain chain;
  chain.measures = true;
  for (const auto& [name, codec] : {std::pair("late.mp4", "copy"), std::pair("late.mkv", "flac")}) {
    SCOPED_TRACE(name);
    const std::string late = folder_ / name;
    ffmpeg("-i " + clip + " -itsoffset 0.3 -i " + clip + " -map 0:v -map 1:a -c:v copy -c:a " + codec + " " + late);
    Inputs inputs = {.geometry = {.width = 32, .height = 48, .num_frames = 13}, .video = moving_picture(16, 48, 32)};
    inputs.keep_audio_from = late;
    const VideoFindings found = write_input(record_, inputs, out_.string(), {}, chain);
    ASSERT_TRUE(found.quality && found.quality->sound_shift);
    EXPECT_NEAR(*found.quality->sound_shift, 0, 40);
  }
}

}  // namespace
}  // namespace wan
