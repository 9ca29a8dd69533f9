// Whether a video is whole: cut and damaged files are told, odd but whole ones are not. And interlaced video.
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/engine/media_ffmpeg.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::string kClip =
    "-f lavfi -i testsrc=s=64x48:r=16:d=3 -f lavfi -i sine=d=3 -pix_fmt yuv420p -colorspace bt709 "
    "-c:v libx264 -g 12 ";

void cut(const std::string& path, double part) {
  const std::string bytes = bytes_of(path);
  write_bytes(path, bytes.substr(0, size_t(double(bytes.size()) * part)));
}

TEST(DamagedVideo, ACutMp4IsToldInFrames) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  for (const std::string sound : {"-c:a aac ", "-an "}) {
    ffmpeg(kClip + sound + "-movflags faststart " + path);
    cut(path, 0.66);
    const ReadVideo got = read_whole(path);
    ASSERT_LT(got.frames.size(), 48u);
    EXPECT_TRUE(
        got.tells("the video ends early: " + std::to_string(got.frames.size()) + " of the 48 frames that it states"))
        << got.frames.size();
  }
}

TEST(DamagedVideo, OtherCutFilesAreToldInSeconds) {
  TemporaryFolder folder;
  for (const std::string name : {"a.mkv", "a.avi", "a.flv"}) {
    for (const std::string sound : {"-c:a aac ", "-an "}) {
      SCOPED_TRACE(name + " " + sound);
      const std::string path = (folder / name).string();
      ffmpeg(kClip + sound + path);
      EXPECT_TRUE(read_whole(path).notes.empty());
      cut(path, 0.66);
      EXPECT_TRUE(read_whole(path).tells(name == "a.avi" ? " of the 48 frames" : " of the 3."));
    }
  }
}

// libavformat takes no length from the header of a WMV that is not as long as that says.
TEST(DamagedVideo, ACutWmvIsToldInSeconds) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.wmv").string();
  for (const std::string sound : {"-c:a wmav2 ", "-an "}) {
    ffmpeg(kClip + sound + "-c:v wmv2 -b:v 800k " + path);
    EXPECT_FALSE(read_whole(path).tells("ends early"));
    const std::string whole = bytes_of(path);
    for (const double part : {0.4, 0.66, 0.95}) {
      write_bytes(path, whole.substr(0, size_t(double(whole.size()) * part)));
      // Within a quarter of a second of its end nothing is said of seconds.
      EXPECT_TRUE(read_whole(path).tells("the video ends early: ")) << part;
      EXPECT_TRUE(part > 0.9 || read_whole(path).tells(" of the 3.")) << part;
    }
    // Of a live stream nothing is known.
    std::string live = whole;
    const size_t properties = whole.find("\xA1\xDC\xAB\x8C\x47\xA9\xCF\x11");
    ASSERT_NE(properties, whole.npos);
    live[properties + 88] = char(live[properties + 88] | 1);
    write_bytes(path, live.substr(0, live.size() / 2));
    EXPECT_FALSE(read_whole(path).tells(" of the 3."));
  }
}

TEST(DamagedVideo, WhatStandsInItsPlaceIsNamed) {
  TemporaryFolder folder;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '0') + "\nsize 9999999999\n";
  const struct {
    std::string bytes, words;
  } kinds[] = {{"<!DOCTYPE html><html><body>Not found</body></html>", "it is a web page, not the file itself"},
               {"\n <html lang=en>" + std::string(9000, 'x'), "it is a web page, not the file itself"},
               {pointer, "it is a Git LFS pointer, not the file itself; download it again"},
               {"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
                "it is a server's error message (AccessDenied)"},
               {"{\"error\": \"not found\"}", "it is a server's error message"},
               {"Not Found", "it is a text, not the file itself: \"Not Found\""},
               {std::string(5000, '\0'), "it begins with zeros"}};
  for (const std::string name : {"a.mp4", "a.mp3", "a.wav"})
    for (const auto& kind : kinds) {
      SCOPED_TRACE(name + " " + kind.words);
      const std::string path = (folder / name).string();
      write_bytes(path, kind.bytes);
      EXPECT_NE(refusal_of(path).find(kind.words), std::string::npos) << refusal_of(path);
      expect_picture_refused(path, kind.words);
    }
}

TEST(DamagedVideo, CutFilesThatStateNoLengthAreToldByTheirStructure) {
  TemporaryFolder folder;
  const struct {
    std::string arguments, name, text;
  } kinds[] = {{"-c:a aac -movflags frag_keyframe+empty_moov ", "fragments.mp4", "is cut short"},
               {"-c:a aac -live 1 -f matroska ", "live.mkv", "is cut short"},
               {"-c:a aac ", "stream.ts", "is cut short"},
               {"-an -c:v gif -pix_fmt rgb8 ", "a.gif", "has no mark of its end"}};
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const std::string path = (folder / kind.name).string();
    ffmpeg(kClip + kind.arguments + path);
    EXPECT_FALSE(read_whole(path).tells("end early") || read_whole(path).tells("ends early"));
    const std::string whole = bytes_of(path);
    write_bytes(path, whole.substr(0, whole.size() * 2 / 3 + (whole.size() * 2 / 3 % 188 == 0)));
    EXPECT_TRUE(read_whole(path).tells(kind.text));
  }
}

TEST(DamagedVideo, DamagedPacketsAreCounted) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mkv").string();
  ffmpeg(kClip + "-an " + path);
  std::string bytes = bytes_of(path);
  for (size_t i = bytes.size() / 3; i < bytes.size() / 3 + 600; ++i) bytes[i] = char(bytes[i] ^ 0x5A);
  write_bytes(path, bytes);
  EXPECT_TRUE(read_whole(path).tells("the video is damaged: "));
}

TEST(DamagedVideo, WholeFilesGiveNoFalseAlarm) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  ffmpeg(kClip + "-c:a aac " + path);
  auto silent = [&](const std::string& arguments, const std::string& name) {
    const std::string made = (folder / name).string();
    ffmpeg(arguments + " " + made);
    for (const Note& note : read_whole(made).notes)
      if (note.text.find("does not state its colour matrix") == std::string::npos) ADD_FAILURE() << name << note.text;
  };
  silent("-ss 0.7 -i " + path + " -c copy", "edit_list.mp4");
  silent("-ss 0.7 -i " + path + " -t 1.1 -c copy", "both_ends.mov");
  silent("-i " + path + " -c copy -movflags frag_keyframe+empty_moov", "fragments.mp4");
  silent("-i " + path + " -c copy -output_ts_offset 5", "late.mkv");
  silent("-i " + path + " -c copy -output_ts_offset 5", "late.mp4");
  silent("-i " + path + " -f lavfi -i sine=d=6 -map 0:v -map 1:a -c:v copy -c:a aac", "long_sound.mkv");
  silent("-i " + path + " -f lavfi -i sine=d=6 -map 0:v -map 1:a -c:v copy -c:a aac", "long_sound.flv");
  silent("-i " + path + " -vf select='not(mod(n\\,5))+lt(n\\,8)' -vsync vfr -colorspace bt709 -c:a copy",
         "variable.mp4");
  silent("-i " + path + " -vf select='not(mod(n\\,5))+lt(n\\,8)' -vsync vfr -colorspace bt709 -c:a copy",
         "variable.mkv");
  silent("-i " + path + " -c:v mpeg4 -bf 2 -an -colorspace bt709", "packed.avi");
  silent("-i " + path + " -c copy", "sound.avi");
  silent("-i " + path + " -c copy", "stream.ts");
}

/// How much rows differ from the mean of their neighbours: combs.
double combs(const VideoFrame& frame) {
  const at::Tensor rgb = frame.rgb.to(at::kFloat);
  const int64_t rows = rgb.size(0);
  const at::Tensor around = (rgb.narrow(0, 0, rows - 2) + rgb.narrow(0, 2, rows - 2)) / 2;
  return (rgb.narrow(0, 1, rows - 2) - around).abs().mean().item<double>();
}

TEST(InterlacedVideo, IsMadeWhole) {
  TemporaryFolder folder;
  // A bar that moves 4 pixels a field.
  const std::string scene =
      "-f lavfi -i color=black:s=160x96:r=50:d=0.6 -f lavfi -i color=white:s=16x96:r=50:d=0.6 -filter_complex "
      "[0][1]overlay=x=n*4,tinterlace=interleave_top ";
  for (const auto& [name, encoder] : {std::pair{"a.ts", "-c:v mpeg2video -q:v 2 -flags +ildct+ilme"},
                                      {"a.mp4", "-c:v libx264 -qp 1 -x264-params tff=1"},
                                      {"a.mov", "-c:v v210 -pix_fmt yuv422p10 -field_order tt"},
                                      {"b.mov", "-c:v mjpeg -q:v 2 -pix_fmt yuvj422p -field_order tt"}}) {
    SCOPED_TRACE(name);
    const std::string path = (folder / name).string();
    ffmpeg(scene + encoder + " -colorspace bt709 " + path);
    const ReadVideo whole = read_whole(path), left = read_whole(path, {.deinterlace = false});
    ASSERT_EQ(whole.frames.size(), left.frames.size());
    for (size_t i = 1; i + 1 < whole.frames.size(); ++i) {
      EXPECT_TRUE(whole.frames[i].time == left.frames[i].time);
      EXPECT_GT(combs(left.frames[i]), 2);
      EXPECT_LT(combs(whole.frames[i]), combs(left.frames[i]) / 4) << i;
    }
    EXPECT_TRUE(whole.tells("the video is interlaced"));
    EXPECT_FALSE(left.tells("the video is interlaced"));
  }
}

TEST(InterlacedVideo, ProgressivePicturesPassUnchanged) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mp4").string();
  ffmpeg(kClip + path);
  const ReadVideo with = read_whole(path), without = read_whole(path, {.deinterlace = false});
  ASSERT_EQ(with.frames.size(), without.frames.size());
  for (size_t i = 0; i < with.frames.size(); ++i) EXPECT_TRUE(at::equal(with.frames[i].rgb, without.frames[i].rgb));
  EXPECT_TRUE(with.notes.empty());
}

}  // namespace
}  // namespace wan
