// The sound of an input video in the output: when a click is heard, and which codecs are copied.
#include "engine/media/kept_sound.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/job/video_task.h"
#include "engine/media/muxer.h"
#include "engine/media/writer.h"
#include "engine/request/parse.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

constexpr const char* kPicture = "-f lavfi -i color=gray:s=64x48:r=16:d=3 ";
/// Three seconds of nothing with a click of 10 ms at 2 s.
constexpr const char* kClick = "-f lavfi -i \"aevalsrc='0.8*between(t,2,2.01)':s=44100:d=3\" ";
constexpr const char* kVideo = "-c:v libx264 -preset ultrafast ";
/// Half a second of the sound is missing before the click.
constexpr const char* kHole = "-af \"aselect='not(between(t,0.8,1.3))'\" ";

struct Scene {
  /// Makes `name` of a picture and a click.
  std::string make(const std::string& name, const std::string& options) const {
    const std::string path = folder / name;
    ffmpeg(std::string(kPicture) + kClick + kVideo + options + " '" + path + "'");
    return path;
  }

  /// Three seconds of video with the sound of `from`, as `name`.
  std::string keep(const std::string& from, const std::string& name = "out.mp4") const {
    const std::string path = folder / name;
    VideoWriter writer(path, {.height = 64, .width = 64, .audio_from = from});
    writer.write(moving_picture(48, 64, 64));
    writer.finish();
    return path;
  }

  TemporaryFolder folder;
};

/// When the click is heard, in milliseconds since the first picture, by the ffmpeg program.
double click(const std::string& path) {
  const std::string command = "ffmpeg -nostdin -loglevel error -i '" + path +
                              "' -vn -af aresample=48000:async=1:min_hard_comp=0.01:first_pts=0 -ac 1 -f f32le -";
  FILE* pipe = popen(command.c_str(), "r");
  float sample = 0;
  int64_t at = 0, found = -48;
  for (; std::fread(&sample, sizeof sample, 1, pipe) == 1; ++at)
    if (found < 0 && std::abs(sample) > 0.3f) found = at;
  pclose(pipe);
  return double(found) / 48;
}

std::string codec_of(const std::string& path) {
  const std::string command =
      "ffprobe -v error -select_streams a -show_entries stream=codec_name -of csv=p=0 '" + path + "'";
  char text[32] = {};
  FILE* pipe = popen(command.c_str(), "r");
  std::ignore = std::fscanf(pipe, "%31s", text);
  pclose(pipe);
  return text;
}

std::string note_of(const std::string& path, Container into = Container::Mp4) {
  Notes notes;
  check_kept_sound({path, "video_url"}, into, /*seconds=*/10, notes);
  std::string text;
  for (const Note& note : notes.list()) text += "[" + note.subject + "] " + note.text + "; " + note.change;
  return text;
}

TEST(KeptSound, TellsDamageAndHoles) {
  const Scene scene;
  const std::string whole = scene.make("whole.mkv", "-c:a aac"),
                    hole = scene.make("hole.mkv", std::string(kHole) + "-c:a aac");
  EXPECT_EQ(note_of(whole), "");
  EXPECT_NE(note_of(hole).find("[keep_audio] the sound has holes: "), std::string::npos) << note_of(hole);
  std::string bytes = bytes_of(whole);
  for (size_t i = bytes.size() / 2; i < bytes.size() * 3 / 4; ++i) bytes[i] = char(bytes[i] ^ 0x5A);
  const std::string damaged = whole + ".damaged.mkv";
  write_bytes(damaged, bytes);
  EXPECT_NE(note_of(damaged).find("[keep_audio] the sound is damaged: "), std::string::npos) << note_of(damaged);
  const std::string way = "; download or export it again, or leave it out with --no-keep-audio";
  EXPECT_NE(note_of(hole).find(way), std::string::npos);
  EXPECT_NE(note_of(damaged).find("decoded" + way), std::string::npos);
}

TEST(KeptSound, AClickStaysAtItsTime) {
  const Scene scene;
  const struct {
    const char *name, *options;
    Keeping keeping;
    double at;  // ms
  } cases[] = {
      {"hole_flac.mkv", "-c:a flac", Keeping::Encoded, 2000},
      {"hole_aac.ts", "-c:a aac", Keeping::Copied, 2000},
      {"hole_aac.mkv", "-c:a aac", Keeping::Copied, 2000},
      {"hole_wma.asf", "-c:a wmav2", Keeping::Encoded, 2000},
      {"hole_opus.mp4", "-c:a libopus", Keeping::Copied, 2000},
      {"mp3.avi", "-c:a libmp3lame", Keeping::Copied, 2025},  // AVI cannot say that an encoder begins late
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    const bool hole = std::string(one.name).starts_with("hole");
    const std::string in = scene.make(one.name, (hole ? kHole : "") + std::string(one.options));
    EXPECT_TRUE(kept_sound({in, "video_url"}, Container::Mp4).keeping == one.keeping);
    EXPECT_NEAR(click(scene.keep(in)), one.at, 3);
  }
}

// Sound and picture begin at times of their own: whichever is first, the first picture is time zero.
TEST(KeptSound, LateAndEarlySoundStaysInStep) {
  const Scene scene;
  const std::string sound = scene.folder / "click.wav";
  ffmpeg(std::string(kClick) + "'" + sound + "'");
  const struct {
    const char *name, *codec;
    double offset, at;  // s, ms
  } cases[] = {
      {"late.mp4", "-c:a aac", 0.7, 2700},
      {"late_alac.mp4", "-c:a alac", 0.7, 2700},
      {"early.mkv", "-c:a flac", -0.7, 1300},
      {"early.mp4", "-c:a aac", -0.7, 1300},
      {"late.ogg", "-c:v libtheora -c:a libvorbis", 0.7, 2700},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    const std::string in = scene.folder / one.name;
    ffmpeg(kPicture + ("-itsoffset " + std::to_string(one.offset)) + " -i '" + sound + "' " + kVideo + one.codec +
           " '" + in + "'");
    EXPECT_NEAR(click(scene.keep(in)), one.at, 3);
  }
}

TEST(KeptSound, TellsWhatIsEncodedAgain) {
  const Scene scene;
  for (const char* copied : {"a.mp4 -c:a aac", "a.ts -c:a aac", "a.mkv -c:a libopus", "b.mkv -c:a libmp3lame"}) {
    const std::string name = std::string(copied).substr(0, std::string(copied).find(' '));
    EXPECT_EQ(note_of(scene.make(name, copied + name.size())), "") << copied;
  }
  EXPECT_EQ(note_of(scene.make("flac.mkv", "-c:a flac")),
            "[keep_audio] the sound is encoded again, as AAC: it is FLAC, which many players do not play in MP4; "
            "--no-keep-audio leaves the sound out");
  EXPECT_EQ(note_of(scene.make("low.mkv", "-c:a libmp3lame -ar 8000")),
            "[keep_audio] the sound is encoded again, as AAC: it is MP3 of 8000 Hz, which MP4 has no place for; "
            "--no-keep-audio leaves the sound out");
  EXPECT_EQ(note_of(scene.make("wide.mkv", "-c:a ac3 -ac 6")),
            "[keep_audio] the sound is encoded again, as AAC, its 6 channels mixed down to 2: it is AC-3, which many "
            "players do not play in MP4; --no-keep-audio leaves the sound out");
  EXPECT_EQ(note_of(scene.make("latm.ts", "-c:a aac -mpegts_flags latm")),
            "[keep_audio] the sound is encoded again, as AAC: it is AAC_LATM, which many players do not play in MP4; "
            "--no-keep-audio leaves the sound out");
  EXPECT_EQ(note_of(scene.make("empty.mkv", "-af aselect=0 -c:a pcm_s16le")),
            "[keep_audio] the video gets no sound: the track of 'empty.mkv' is empty; ");
  EXPECT_EQ(codec_of(scene.keep(scene.folder / "empty.mkv")), "");
}

TEST(KeptSound, IsJudgedWhenTheVideoIsLoaded) {
  const Scene scene;
  scene.make("flac.mkv", "-c:a flac");
  const Request request = parse(Task::V2V,
                                {{"model", "absent"},
                                 {"prompt", ""},
                                 {"video_url", "flac.mkv"},
                                 {"width", 64},
                                 {"height", 48},
                                 {"num_frames", 17}},
                                {.folder = scene.folder.path()});
  Notes notes;
  Silent silent;
  EXPECT_NE(load_video(request, input_files(request, "", silent), notes).keep_audio_from, "");
  bool told = false;
  for (const Note& note : notes.list()) told |= note.subject == "keep_audio";
  EXPECT_TRUE(told);
}

/// What is told under keep_audio of a video of 2 s at 16 frames a second when it is loaded.
std::string loading_note(const Scene& scene, const std::string& sound, const std::string& name,
                         nlohmann::json fields = nlohmann::json::object()) {
  const std::string path = scene.folder / name;
  ffmpeg("-f lavfi -i color=gray:s=64x48:r=16:d=2 " + sound + kVideo + "'" + path + "'");
  fields.update({{"model", "absent"}, {"prompt", ""}, {"video_url", name}, {"width", 64}, {"height", 48}});
  const Request request = parse(Task::V2V, fields, {.folder = scene.folder.path()});
  Notes notes;
  Silent silent;
  load_video(request, input_files(request, "", silent), notes);
  std::string text;
  for (const Note& note : notes.list())
    if (note.subject == "keep_audio") text += note.text + "; " + note.change;
  return text;
}

TEST(KeptSound, WhatIsHeardAfterThePictureIsTold) {
  const Scene scene;
  const std::string aac = "-c:a aac ", tone = "-f lavfi -i sine=d=";
  EXPECT_EQ(loading_note(scene, tone + "4 " + aac, "long.mp4"),
            "2.00 s of the sound are left out: the picture ends after 2.00 s; ffmpeg -i FILE -vf "
            "tpad=stop_mode=clone:stop_duration=2.00 -c:a copy OTHER.mkv holds the last picture for as long");
  for (const char* name : {"long.mkv", "long.ts", "long.mov"})
    EXPECT_TRUE(loading_note(scene, tone + "4 " + aac, name).starts_with("2.0")) << name;
  EXPECT_TRUE(loading_note(scene, tone + "4 -c:a flac ", "flac.mkv").find("2.00 s of the sound are left out") !=
              std::string::npos);
  // As long as the picture, and begun a second late.
  EXPECT_TRUE(loading_note(scene, "-itsoffset 1 " + tone + "2 " + aac, "late.mp4").starts_with("1.0"));
  // What the user is to do is right.
  const std::string before = scene.folder / "long.mp4", held = scene.folder / "held.mkv";
  ffmpeg("-i '" + before + "' -vf tpad=stop_mode=clone:stop_duration=2.00 -c:a copy '" + held + "'");
  EXPECT_EQ(loading_note(scene, "-i '" + held + "' -map 1:v -map 1:a -c:a copy ", "same.mkv"), "");
}

TEST(KeptSound, AnEncodersRestAndThePictureThatGoesOnAreNotTold) {
  const Scene scene;
  const std::string aac = "-c:a aac ", tone = "-f lavfi -i sine=d=";
  for (const char* length : {"1.5 ", "2 ", "2.1 "})
    for (const char* name : {"a.mp4", "a.mkv", "a.ts"})
      EXPECT_EQ(loading_note(scene, tone + length + aac, name), "") << length << name;
  EXPECT_EQ(loading_note(scene, tone + "2 " + aac, "cut.mp4", {{"num_frames", 17}}), "") << "the picture goes on";
  EXPECT_EQ(loading_note(scene, tone + "4 " + aac, "off.mp4", {{"keep_audio", false}}), "");
}

// A recorded broadcast: stereo before the film, and more or another rate in it.
TEST(KeptSound, SoundThatChangesItsFormIsDecoded) {
  const Scene scene;
  const std::string first = scene.make("first.ts", "-c:a aac -ac 1");
  const std::string second = scene.make("second.ts", "-c:a aac -ac 2 -ar 48000 -output_ts_offset 3");
  const std::string both = scene.folder / "both.ts";
  write_bytes(both, bytes_of(first) + bytes_of(second));
  EXPECT_NE(note_of(both).find("its AAC changes its form"), std::string::npos) << note_of(both);
  EXPECT_NEAR(click(scene.keep(both)), 2000, 3);
}

TEST(KeptSound, SoundThatCannotBeDecodedIsRefusedAtOnce) {
  const Scene scene;
  const std::string path = scene.make("unknown.mkv", "-c:a pcm_s16le");
  std::string bytes = bytes_of(path);
  bytes.replace(bytes.find("A_PCM/INT/LIT"), 13, "A_ODD/INT/LIT");
  write_bytes(path, bytes);
  try {
    note_of(path);
    ADD_FAILURE() << "was taken";
  } catch (const InvalidRequest& error) {
    EXPECT_STREQ(error.what(),
                 "[keep_audio] must be off where the sound cannot be decoded, and that of 'unknown.mkv' cannot: it is "
                 "of an unknown kind; --no-keep-audio renders without it");
  }
}

// QuickTime has no place for Opus, which MP4 has.
TEST(KeptSound, IsJudgedByTheContainerItGoesInto) {
  const Scene scene;
  const std::string opus = scene.make("opus.mp4", "-c:a libopus");
  EXPECT_EQ(note_of(opus), "");
  EXPECT_EQ(note_of(opus, Container::QuickTime),
            "[keep_audio] the sound is encoded again, as AAC: it is Opus, which MOV has no place for; "
            "--no-keep-audio leaves the sound out");
  EXPECT_EQ(codec_of(scene.keep(opus)), "opus");
  const std::string mov = scene.folder / "out.MOV";
  check_header(mov, {.height = 64, .width = 64, .audio_from = opus});
  EXPECT_EQ(codec_of(scene.keep(opus, "out.MOV")), "aac");
  EXPECT_NEAR(click(mov), 2000, 3);
}

// The trial is of the kind that will be written: a QuickTime header is tried as one.
TEST(CheckHeader, IsOfTheContainerThatWillBeWritten) {
  for (const auto& [name, fits] : {std::pair{"a.mp4", true}, {"a.m4v", true}, {"a.mov", false}, {"a.MOV", false}}) {
    SCOPED_TRACE(name);
    av::Muxer muxer(name, "", av::Sink::Nowhere);
    AVCodecParameters& sound = *muxer.add(*std::make_unique<AVCodecParameters>(), {1, 48000}).codecpar;
    sound.codec_type = AVMEDIA_TYPE_AUDIO;
    sound.codec_id = AV_CODEC_ID_OPUS;
    sound.sample_rate = 48000;
    av_channel_layout_default(&sound.ch_layout, 2);
    std::string error;
    try {
      muxer.start();
    } catch (const std::runtime_error& failed) {
      error = failed.what();
    }
    EXPECT_EQ(error.empty(), fits) << error;
  }
}

TEST(KeptSound, OtherTracksAreTold) {
  const Scene scene;
  const std::string path = scene.folder / "two.mkv";
  ffmpeg(std::string(kPicture) + kClick + "-f lavfi -i sine=d=3 -map 0 -map 1 -map 2 " + kVideo +
         "-c:a aac -disposition:a:0 0 -disposition:a:1 default '" + path + "'");
  EXPECT_EQ(note_of(path),
            "[keep_audio] the video has 2 sound tracks: number 2 is kept, the other is left out; "
            "ffmpeg -i FILE -map 0:v? -map 0:a:0 -c copy OTHER.mkv keeps another one");
  const std::string other = scene.folder / "other.mkv";
  ffmpeg("-i '" + path + "' -map 0:v? -map 0:a:0 -c copy '" + other + "'");
  EXPECT_EQ(note_of(other), "");
  EXPECT_NEAR(click(scene.keep(other)), 2000, 3);
}

TEST(CheckHeader, ThrowsWhatTheWriterWould) {
  const Scene scene;
  const VideoFormat good = {.height = 720, .width = 1280, .metadata = "{}"};
  const std::string out = scene.folder / "out.mp4";
  check_header(out, good);
  VideoFormat sound = good, silent = good, size = good, quality = good;
  sound.audio_from = scene.make("flac.mkv", "-c:a flac");
  check_header(out, sound);
  silent.audio_from = media_file("upright.mp4");
  EXPECT_THROW(check_header(out, silent), InvalidRequest);
  size.width = 1281;
  EXPECT_THROW(check_header(out, size), std::invalid_argument);
  quality.quality = "best";
  EXPECT_THROW(check_header(out, quality), std::invalid_argument);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scene.folder.path()), {}), 1) << "it leaves no file";
}

}  // namespace
}  // namespace wan
