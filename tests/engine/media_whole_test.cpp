// Whether a video is whole: cut and damaged files are told, odd but whole ones are not. And interlaced video.
#include <filesystem>
#include <random>

#include <gtest/gtest.h>

#include "engine/media/frame_gaps.h"
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

// Cut between two of its packets, the last one of the sound lacks its end.
TEST(DamagedVideo, ATransportStreamThatIsCutBetweenPacketsIsTold) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.ts").string();
  ffmpeg(kClip + "-c:a mp2 -b:a 320k " + path);
  const std::string whole = bytes_of(path);
  EXPECT_FALSE(read_whole(path).tells("ends early"));
  size_t told = 0;
  const size_t packets = whole.size() / 188;
  for (size_t n = packets / 2; n < packets / 2 + 12; ++n) {
    write_bytes(path, whole.substr(0, n * 188));
    told += read_whole(path).tells("the video ends early: the last part of the file is cut short");
  }
  EXPECT_GT(told, 0u);
}

/// The number of the stream that a transport packet belongs to, and another one put in its place.
int stream_of(const std::string& bytes, size_t packet) {
  return (uint8_t(bytes[packet * 188 + 1]) & 0x1F) << 8 | uint8_t(bytes[packet * 188 + 2]);
}
void give_stream(std::string& bytes, size_t packet, int stream) {
  char& high = bytes[packet * 188 + 1];
  high = char((uint8_t(high) & 0xE0) | stream >> 8);
  bytes[packet * 188 + 2] = char(stream & 0xFF);
}

// As many bytes as before, and the last picture is there.
TEST(DamagedVideo, ATransportStreamThatIsDamagedInTheMiddleDoesNotEndEarly) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.ts").string();
  ffmpeg(kClip + "-c:a mp2 -b:a 320k " + path);
  const std::string whole = bytes_of(path);
  const size_t packets = whole.size() / 188;
  constexpr int kSound = 0x101, kNone = 0x155, kPadding = 0x1FFF;
  std::vector<size_t> heads;  // of the sound's parts
  for (size_t n = 0; n < packets; ++n)
    if (stream_of(whole, n) == kSound && (whole[n * 188 + 1] & 0x40)) heads.push_back(n);
  ASSERT_GT(heads.size(), 8u);
  // The first packet of a part becomes one of a stream that is not there: with a length that nothing follows.
  for (size_t i = heads.size() / 3; i < heads.size() / 3 + 4; ++i) {
    std::string bytes = whole;
    give_stream(bytes, heads[i], kNone);
    write_bytes(path, bytes);
    EXPECT_FALSE(read_whole(path).tells("ends early")) << i;
  }
  // The sound's last part lacks a packet of its middle, or its head has lost its mark.
  std::string lacking = whole, unmarked = whole;
  ASSERT_EQ(stream_of(whole, heads.back() + 2), kSound);
  give_stream(lacking, heads.back() + 2, kPadding);
  unmarked[(heads.back() + 2) * 188] = 'x';
  for (const std::string& bytes : {lacking, unmarked}) {
    write_bytes(path, bytes);
    EXPECT_FALSE(read_whole(path).tells("ends early"));
  }
}

TEST(DamagedVideo, DamagedPacketsAreCounted) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.mkv").string();
  ffmpeg(kClip + "-an " + path);
  std::string bytes = bytes_of(path);
  for (size_t i = bytes.size() / 3; i < bytes.size() / 3 + 600; ++i) bytes[i] = char(bytes[i] ^ 0x5A);
  write_bytes(path, bytes);
  const ReadVideo got = read_whole(path);
  EXPECT_TRUE(got.tells("the video is damaged: "));
  for (const Note& note : got.notes) {
    if (note.text.starts_with("the video is damaged: ")) {
      EXPECT_EQ(note.change, "download or export it again");
    }
  }
}

// libavformat reports no damage where the head of a WMV's packet or packets of a transport stream are lost.
TEST(DamagedVideo, FramesThatAreLostInTheMiddleAreCounted) {
  TemporaryFolder folder;
  const std::string scene = "-f lavfi -i testsrc2=s=320x240:r=24:d=3 -colorspace bt709 ";
  const struct {
    std::string encoder, name;
    size_t unit, lost, from;  // bytes, and how many units are lost from which part in twelfths
  } kinds[] = {{"-c:v wmv2 -b:v 600k ", "a.wmv", 1, 3000, 3},
               {"-c:v wmv2 -b:v 600k ", "b.wmv", 1, 9000, 8},
               {"-c:v mpeg2video ", "a.ts", 188, 60, 6},
               {"-c:v libx264 -g 12 ", "b.ts", 188, 60, 4}};
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const std::string path = (folder / kind.name).string();
    ffmpeg(scene + kind.encoder + path);
    ASSERT_FALSE(read_whole(path).tells("missing"));
    std::string bytes = bytes_of(path);
    const size_t at = bytes.size() / kind.unit * kind.from / 12 * kind.unit, lost = kind.lost * kind.unit;
    if (kind.unit == 1) {
      std::mt19937 random(7);
      for (size_t i = at; i < at + lost; ++i) bytes[i] = char(random());
    } else {
      bytes.erase(at, lost);
    }
    write_bytes(path, bytes);
    const ReadVideo got = read_whole(path);
    const size_t missing = 72 - got.frames.size();
    ASSERT_GT(missing, 0u);
    ASSERT_LT(missing, 20u);
    // libavcodec gives a frame of H.264 behind a loss a time that runs back.
    const bool is_exact = kind.encoder.find("264") == std::string::npos;
    EXPECT_TRUE(got.tells((is_exact ? std::to_string(missing) : "") + " of 72 frame")) << missing;
    EXPECT_TRUE(got.tells("missing, at ")) << missing;
  }
}

/// The file without its fragment number `number`: the box "moof" and the "mdat" behind it.
std::string without_fragment(const std::string& bytes, size_t number) {
  const auto size_at = [&](size_t at) {
    size_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | uint8_t(bytes.at(at + i));
    return size;
  };
  size_t seen = 0;
  for (size_t at = 0; at + 8 <= bytes.size(); at += size_at(at)) {
    if (bytes.compare(at + 4, 4, "moof") != 0 || seen++ != number) continue;
    const size_t data = at + size_at(at);
    EXPECT_EQ(bytes.substr(data + 4, 4), "mdat");
    return bytes.substr(0, at) + bytes.substr(data + size_at(data));
  }
  ADD_FAILURE() << "there are " << seen << " fragments";
  return bytes;
}

TEST(DamagedVideo, AFragmentThatIsLostIsCounted) {
  TemporaryFolder folder;
  const std::string film =
      "-f lavfi -i testsrc2=s=64x48:r=24000/1001:d=3 -f lavfi -i sine=d=3 -g 12 -colorspace bt709 ";
  for (const std::string name : {"plain.mp4", "sound.mp4", "pictures_run_back.mov"}) {
    SCOPED_TRACE(name);
    const std::string path = (folder / name).string();
    ffmpeg(film + (name == "plain.mp4" ? "-an -bf 0 " : "") +
           "-c:v libx264 -movflags frag_keyframe+empty_moov+default_base_moof " + path);
    EXPECT_FALSE(read_whole(path).tells("missing"));
    write_bytes(path, without_fragment(bytes_of(path), 2));
    const ReadVideo got = read_whole(path);
    ASSERT_EQ(got.frames.size(), 60u);
    EXPECT_TRUE(got.tells("12 of 72 frames are missing, at 1.00 s")) << (got.notes.empty() ? "" : got.notes[0].text);
  }
}

TEST(DamagedVideo, GapsInRegularTimesAreMissingFrames) {
  auto told = [](const std::vector<int64_t>& times, int64_t duration = 0) {
    FrameGaps gaps;
    for (int64_t time : times) gaps.add(time, duration);
    return gaps.text(0.001);
  };
  std::vector<int64_t> even, lacking, irregular, uneven, jumping;
  for (int64_t n = 0; n < 48; ++n) {
    const int64_t time = n * 1000 / 24;
    even.push_back(time);
    if (n != 12 && n != 30 && n != 31) lacking.push_back(time);
    if (n % 3 != 1) irregular.push_back(time);
    if (n % 4 != 1) uneven.push_back(time);        // two of three gaps are one step: too few for a rule
    jumping.push_back(time + (n >= 20 ? 60 : 0));  // a pause that is no whole number of frames
  }
  EXPECT_EQ(told(even), "");
  EXPECT_EQ(told(irregular), "");
  EXPECT_EQ(told(uneven), "");
  EXPECT_EQ(told(jumping), "");
  EXPECT_EQ(told({0, 42, 500}), "");
  EXPECT_EQ(
      told(lacking),
      "3 of 48 frames are missing, at 0.50 s, 1.25 s: there are gaps between the times of the others; the file is "
      "damaged, or was recorded with gaps");
  EXPECT_EQ(told(lacking, 42), told(lacking));
  // A frame that is to be shown as long as the gap leaves nothing out.
  FrameGaps stated;
  for (size_t i = 0; i < lacking.size(); ++i)
    stated.add(lacking[i], i + 1 < lacking.size() ? lacking[i + 1] - lacking[i] : 42);
  EXPECT_EQ(stated.text(0.001), "");
  std::vector<int64_t> often;
  for (int64_t n = 0; n < 240; ++n)
    if (n % 20 != 7) often.push_back(n * 3003);
  FrameGaps gaps;
  for (int64_t time : often) gaps.add(time, 0);
  EXPECT_TRUE(gaps.text(1.0 / 90000)
                  .starts_with("12 of 240 frames are missing, at 0.23 s, 0.90 s, 1.57 s and at 9 more places"))
      << gaps.text(1.0 / 90000);
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
  silent("-i " + path +
             " -vf select='not(mod(n\\,5))+lt(n\\,8)' -vsync vfr -colorspace bt709 -an -g 4 -movflags "
             "frag_keyframe+empty_moov",
         "variable_fragments.mp4");
  // Every fourth frame is left out, and no duration says so.
  const std::string uneven =
      "-f lavfi -i testsrc2=s=64x48:r=24:d=4 -vf select='mod(n+3\\,4)' -vsync vfr -colorspace bt709 ";
  silent(uneven + "-c:v mpeg2video -q:v 3", "uneven.ts");
  silent(uneven + "-c:v wmv2", "uneven.wmv");
  silent("-i " + path + " -c:v mpeg4 -bf 2 -an -colorspace bt709", "packed.avi");
  silent("-i " + path + " -c copy", "sound.avi");
  silent("-i " + path + " -c copy", "stream.ts");
  silent("-f lavfi -i testsrc2=s=64x48:r=24000/1001:d=4 -c:v wmv2 -colorspace bt709", "film.wmv");
  silent("-f lavfi -i testsrc2=s=64x48:r=60000/1001:d=2 -c:v libx264 -bf 3 -colorspace bt709", "fast.mkv");
  silent("-i " + path + " -vf select='gte(n\\,20)+lt(n\\,12)' -vsync vfr -colorspace bt709 -an", "pause.mp4");
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
