// Video files out and in: what is written comes back, byte for byte the same each time, with its sound and its request.
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "engine/media/kept_sound.h"
#include "engine/media/metadata.h"
#include "engine/media/video_reader.h"
#include "engine/media/writer.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

std::vector<VideoFrame> all_frames(VideoReader& reader) {
  std::vector<VideoFrame> frames;
  while (std::optional<VideoFrame> frame = reader.next()) frames.push_back(*frame);
  return frames;
}

void write_video(const std::string& path, const at::Tensor& frames, VideoFormat format = {}) {
  format.height = frames.size(1);
  format.width = frames.size(2);
  VideoWriter writer(path, format);
  writer.write(frames);
  writer.finish();
}

// The grey level of frame k in the fixtures is 40 + 20 k; which frame is this?
int64_t number_of(const VideoFrame& frame) {
  int64_t height = frame.rgb.size(0), width = frame.rgb.size(1);
  double level = frame.rgb[height / 2][width / 2][1].item<double>();
  return std::llround((level - 40) / 20);
}

std::vector<int64_t> numbers_of(const std::vector<VideoFrame>& frames) {
  std::vector<int64_t> numbers;
  for (const VideoFrame& frame : frames) numbers.push_back(number_of(frame));
  return numbers;
}

TEST(VideoWriter, WhatIsWrittenComesBack) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  at::Tensor frames = moving_picture(9, 96, 160);
  write_video(path, frames, {.rate = {30000, 1001}, .quality = "maximum"});
  VideoReader reader({path, "video_url"});
  EXPECT_EQ(reader.info().width, 160);
  EXPECT_EQ(reader.info().height, 96);
  EXPECT_EQ(reader.info().frames, 9);
  EXPECT_TRUE(reader.info().rate == (Rational{30000, 1001}));
  EXPECT_FALSE(reader.info().has_audio);
  std::vector<VideoFrame> got = all_frames(reader);
  ASSERT_EQ(got.size(), 9u);
  for (int64_t i = 0; i < 9; ++i) {
    // 4:2:0 and rate factor 10 on smooth colours; BT.601 on one side alone would leave 30 dB.
    EXPECT_GT(decibels(got[size_t(i)].rgb, frames[i]), 42) << i;
    EXPECT_TRUE(got[size_t(i)].time == (Rational{i * 1001, 30000})) << i;
  }
  Notes notes;
  reader.tell(notes);
  EXPECT_TRUE(notes.list().empty());
}

TEST(VideoWriter, EqualInputGivesEqualBytes) {
  TemporaryFolder folder;
  at::Tensor frames = moving_picture(20, 64, 64);
  at::Tensor sound = (at::arange(20000, at::kFloat) * 0.1).sin().view({1, -1}) * 0.3;
  auto encode = [&](const std::string& name, int64_t step) {
    const std::string path = (folder / name).string();
    VideoWriter writer(path, {.height = 64, .width = 64, .metadata = "{}", .audio = AudioFormat{16000, 1}});
    for (int64_t i = 0; i < 20; i += step) {
      writer.write(frames.narrow(0, i, step));
      writer.write_audio(sound.narrow(1, i * 1000, step * 1000));
    }
    writer.finish();
    return bytes_of(path);
  };
  const std::string first = encode("a.mp4", 5);
  for (int round = 0; round < 4; ++round) {
    // What another encoder left in freed memory must not show, nor how the stream was cut.
    write_video((folder / "other.mp4").string(), moving_picture(5, 96, 160).bitwise_xor(round));
    EXPECT_TRUE(first == encode("b.mp4", round % 2 ? 5 : 4)) << round;
  }
  for (const char* varying : {"x264", "Lavf", "Lavc", "a.mp4"}) {
    EXPECT_EQ(first.find(varying), std::string::npos) << varying;
  }
  EXPECT_LT(first.find("moov"), first.find("mdat"));
}

TEST(VideoWriter, AppearsWholeOrNotAtAll) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  {
    VideoWriter writer(path, {.height = 64, .width = 64});
    writer.write(moving_picture(2, 64, 64));
    EXPECT_TRUE(std::filesystem::exists(path + ".part"));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(VideoWriter, TwoThatWriteOneFileLeaveItWhole) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string(), alone = (folder / "b.mp4").string();
  const at::Tensor frames = moving_picture(8, 64, 64);
  write_video(alone, frames);
  {
    VideoWriter first(path, {.height = 64, .width = 64}), second(path, {.height = 64, .width = 64});
    second.write(frames);
    first.write(255 - frames);
    first.finish();
    second.finish();
  }
  EXPECT_TRUE(bytes_of(path) == bytes_of(alone));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(VideoWriter, AMovIsQuickTimeAndKeepsLongMetadata) {
  TemporaryFolder folder;
  const std::string words = "{\"wan_infer\":\"" + std::string(200'000, 'x') + "\"}";
  for (const char* name : {"a.mov", "a.MOV", "a.mp4"}) {
    VideoWriter writer(folder / name, {.height = 32, .width = 64, .rate = {8, 1}, .metadata = words});
    writer.write(moving_picture(3, 32, 64));
    writer.finish();
    EXPECT_EQ(read_metadata({folder / name, "video"}), words) << name;
    EXPECT_EQ(bytes_of(folder / name).substr(4, 8), std::string(name).ends_with("4") ? "ftypisom" : "ftypqt  ") << name;
  }
}

TEST(VideoWriter, TellsWhyTheDiskRefuses) {
  TemporaryFolder folder;
  auto error_of = [](const std::string& path) -> std::string {
    try {
      write_video(path, moving_picture(3, 64, 64));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "none";
  };
  const std::string absent = (folder / "no" / "a.mp4").string(), full = (folder / "full.mp4").string();
  EXPECT_EQ(error_of(absent), "[a.mp4] cannot be written: No such file or directory");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit tight = {512, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  const std::string error = error_of(full);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(error, "[full.mp4] cannot be written: File too large");
  EXPECT_FALSE(std::filesystem::exists(full));
}

TEST(VideoWriter, RefusesWhatItCannotEncode) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  auto open = [&](const VideoFormat& format) { VideoWriter writer(path, format); };
  EXPECT_THROW(open({.height = 63, .width = 64}), std::invalid_argument);
  EXPECT_THROW(open({.height = 64, .width = 64, .rate = {0, 1}}), std::invalid_argument);
  EXPECT_THROW(open({.height = 64, .width = 64, .quality = "best"}), std::invalid_argument);
  EXPECT_THROW(open({.height = 64, .width = 64, .write_mode = "slow"}), std::invalid_argument);
  EXPECT_THROW(open({.height = 64, .width = 64, .audio = AudioFormat{12345, 1}}), std::invalid_argument);
  VideoWriter writer(path, {.height = 64, .width = 64});
  EXPECT_THROW(writer.write(moving_picture(1, 64, 80)), std::invalid_argument);
  EXPECT_THROW(writer.write_audio(at::zeros({1, 5})), std::invalid_argument);
  EXPECT_THROW(writer.finish(), std::logic_error);
}

TEST(VideoWriter, QualityAndWriteModeChangeTheSize) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  at::Tensor frames = moving_picture(6, 96, 96);
  std::vector<size_t> sizes;
  for (const Quality& quality : kQualities) {
    write_video(path, frames, {.quality = std::string(quality.name)});
    sizes.push_back(bytes_of(path).size());
  }
  EXPECT_TRUE(std::is_sorted(sizes.begin(), sizes.end()));
  EXPECT_LT(sizes.front() * 2, sizes.back());
}

TEST(Metadata, ComesBackWholeAndOnlyFromOurFiles) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  std::string text =
      R"({"prompt": "ein Büßer; 猫が歩く \"quoted\" \n ;#=", "long": ")" + std::string(100'000, 'x') + "\"}";
  write_video(path, moving_picture(1, 64, 64), {.metadata = text});
  EXPECT_EQ(read_metadata({path, "file"}), text);
  EXPECT_THROW(read_metadata({media_file("upright.mp4"), "file"}), InvalidRequest);
  EXPECT_THROW(read_metadata({media_file("rgb.png"), "file"}), InvalidRequest);
  // Printing or copying it would run through the stack.
  const std::string deep = "{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const std::string hostile = (folder / "deep.mp4").string();
  write_video(hostile, moving_picture(1, 64, 64), {.metadata = deep});
  EXPECT_THROW(read_metadata({hostile, "file"}), InvalidRequest);
  write_video(path, moving_picture(1, 64, 64), {.metadata = "a holiday"});
  EXPECT_THROW(read_metadata({path, "file"}), InvalidRequest);
}

TEST(Sound, StartsAtZeroAndIsAsLongAsWritten) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  at::Tensor sound = at::zeros({2, 48000});
  sound.narrow(1, 9600, 480).fill_(0.5);  // a click at 0.2 s
  VideoWriter writer(path, {.height = 64, .width = 64, .audio = AudioFormat{48000, 2}});
  writer.write(moving_picture(16, 64, 64));
  writer.write_audio(sound);
  writer.finish();
  Audio got = read_audio({path, "audio_url"}, 48000);
  EXPECT_NEAR(double(got.samples.numel()), 48000, 1024);
  // The click's first edge, to within the pre-echo of AAC's short blocks.
  at::Tensor loud = (got.samples.abs() > 0.25).nonzero();
  ASSERT_GT(loud.numel(), 0);
  EXPECT_NEAR(loud[0].item<double>(), 9600, 64);
  EXPECT_NEAR(VideoReader({path, "video_url"}).info().seconds, 1, 1e-6);
}

TEST(Sound, OfAnotherFileIsKeptAndCut) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  for (const auto& [name, how] : {std::pair{"aac_sound.mp4", Keeping::Copied}, {"pcm_sound.mkv", Keeping::Encoded}}) {
    SCOPED_TRACE(name);
    VideoWriter writer(path, {.height = 64, .width = 64, .audio_from = media_file(name)});
    EXPECT_TRUE(kept_sound({media_file(name), "video_url"}, Container::Mp4).keeping == how);
    writer.write(moving_picture(8, 64, 64));  // half a second of a sound of one
    writer.finish();
    at::Tensor got = read_audio({path, "audio_url"}, 16000).samples;
    EXPECT_NEAR(double(got.numel()), 8000, 16000 * 0.1);  // 1,024 samples of AAC at 11,025 Hz
    at::Tensor want = read_audio({media_file(name), "audio_url"}, 16000).samples.narrow(0, 0, 7000);
    got = got.narrow(0, 0, 7000);
    double together = (got * want).mean().item<double>();
    EXPECT_GT(together / std::sqrt(got.square().mean().item<double>() * want.square().mean().item<double>()), 0.98);
  }
  EXPECT_THROW(VideoWriter(path, {.height = 64, .width = 64, .audio_from = media_file("upright.mp4")}), InvalidRequest);
}

TEST(VideoReader, TurnsPicturesUpright) {
  VideoReader plain({media_file("upright.mp4"), "video_url"});
  at::Tensor want = plain.next()->rgb;
  EXPECT_EQ(want.sizes(), (std::vector<int64_t>{18, 32, 3}));
  EXPECT_GT(want[2][3][0].item<int>(), 200);  // the block in the top left corner
  for (int turns = 1; turns <= 3; ++turns) {
    VideoReader turned({media_file("rotated" + std::to_string(90 * turns) + ".mp4"), "video_url"});
    EXPECT_EQ(max_abs_difference(turned.next()->rgb, at::rot90(want, turns, {0, 1}).contiguous()), 0) << turns;
    EXPECT_EQ(turned.info().width, turns == 2 ? 32 : 18);
  }
}

TEST(VideoReader, GivesTheTimesOfVariableRates) {
  VideoReader reader({media_file("variable.mkv"), "video_url"});
  std::vector<VideoFrame> frames = all_frames(reader);
  ASSERT_EQ(numbers_of(frames), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  const int64_t tenths[] = {0, 1, 2, 3, 8, 13, 18, 23};
  for (size_t i = 0; i < frames.size(); ++i) EXPECT_TRUE(frames[i].time == (Rational{tenths[i], 10})) << i;
}

TEST(VideoReader, ResamplesByWhatIsShown) {
  VideoReader slow({media_file("upright.mp4"), "video_url"}, {.rate = Rational{5, 1}});  // 10 frames a second, 8 frames
  EXPECT_EQ(numbers_of(all_frames(slow)), (std::vector<int64_t>{0, 2, 4, 6}));
  VideoReader fast({media_file("upright.mp4"), "video_url"}, {.rate = Rational{16, 1}});
  EXPECT_EQ(numbers_of(all_frames(fast)), (std::vector<int64_t>{0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6, 7}));
  VideoReader variable({media_file("variable.mkv"), "video_url"}, {.rate = Rational{4, 1}});
  std::vector<int64_t> shown = numbers_of(all_frames(variable));
  ASSERT_GE(shown.size(), 10u);
  shown.resize(10);
  EXPECT_EQ(shown, (std::vector<int64_t>{0, 2, 3, 3, 4, 4, 5, 5, 6, 6}));  // 1.0 s: frame 4, shown from 0.8 to 1.3
}

TEST(VideoReader, MakesPixelsSquareAndKeepsOddSizes) {
  VideoReader reader({media_file("odd_wide_pixels.mkv"), "video_url"});
  EXPECT_EQ(reader.info().width, 70);
  EXPECT_EQ(reader.info().height, 27);
  EXPECT_EQ(reader.next()->rgb.sizes(), (std::vector<int64_t>{27, 70, 3}));
}

TEST(VideoReader, FollowsNoListsAndNoNames) {
  TemporaryFolder folder;
  const std::string path = (folder / "list.mp4").string(), target = media_file("upright.mp4");
  for (const std::string& text :
       {"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + target + "\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '" + target + "'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n" + std::string()}) {
    write_bytes(path, text);
    EXPECT_THROW(VideoReader({path, "video_url"}), InvalidRequest) << text;
  }
  for (const std::string& name :
       {"file:" + target, "concat:" + target, "subfile,,start,0,end,0,,:" + target, std::string("/dev/zero")}) {
    EXPECT_THROW(VideoReader({name, "video_url"}), InvalidRequest) << name;
  }
}

TEST(VideoReader, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder / "damaged").string(), ours = (folder / "ours.mp4").string();
  write_video(ours, moving_picture(6, 64, 64));
  for (const std::string& name : {ours, media_file("variable.mkv"), media_file("rotated90.mp4")}) {
    const std::string whole = bytes_of(name);
    for (size_t cut = 0; cut < whole.size(); cut += 1 + whole.size() / 40) {
      for (bool truncate : {true, false}) {
        std::string bytes = truncate ? whole.substr(0, cut) : whole;
        if (!truncate) bytes[cut] = char(bytes[cut] ^ 0xA5);
        write_bytes(path, bytes);
        try {
          VideoReader reader({path, "video_url"}, {.rate = Rational{16, 1}});
          for (int frames = 0; frames < 100 && reader.next(); ++frames) {
          }
        } catch (const InvalidRequest&) {
        }
      }
    }
  }
  // The index comes first, so a cut file has the frames before the cut.
  const std::string whole = bytes_of(ours);
  write_bytes(path, whole.substr(0, whole.size() - whole.size() / 10));
  VideoReader reader({path, "video_url"});
  size_t frames = all_frames(reader).size();
  EXPECT_GT(frames, 0u);
  EXPECT_LE(frames, 6u);
}

}  // namespace
}  // namespace wan
