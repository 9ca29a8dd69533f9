// Sound files: 16 kHz samples equal librosa's to the bit.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

TEST(ReadAudio, EqualsLibrosa) {
  for (const std::string& name : expected_names("sound.")) {
    SCOPED_TRACE(name);
    Audio got = read_audio({media_file(name), "audio_url"}, 16000);
    if (got.resampler.substr(0, 3) == "swr") GTEST_SKIP() << "this libswresample has no soxr";
    EXPECT_TRUE(is_close(got.samples, expected("sound." + name), 0));
    EXPECT_EQ(got.resampler, name == "wide.wav" ? "none" : "soxr");
    EXPECT_EQ(got.damaged_packets, 0);
  }
}

// Lossy codecs: as long as the source within a packet, and the tone that was encoded.
TEST(ReadAudio, ReadsCompressedSound) {
  for (const char* name : {"tone.mp3", "tone.m4a", "tone.ogg"}) {
    SCOPED_TRACE(name);
    at::Tensor samples = read_audio({media_file(name), "audio_url"}, 16000).samples;
    EXPECT_NEAR(double(samples.numel()), 4000, 450);
    at::Tensor angle = at::arange(samples.numel(), at::kFloat) * (2 * M_PI * 500 / 16000);
    double a = (samples * angle.sin()).mean().item<double>(), b = (samples * angle.cos()).mean().item<double>();
    double share = 2 * (a * a + b * b) / samples.square().mean().item<double>();
    EXPECT_GT(share, 0.9);
    EXPECT_LT(share, 1.01);
  }
}

TEST(AudioReader, KeepsRateAndChannels) {
  AudioReader stereo({media_file("cd.wav"), "audio_url"}, Mix::Stereo);
  EXPECT_EQ(stereo.rate(), 44100);
  EXPECT_EQ(stereo.channels(), 2);
  int64_t samples = 0;
  for (at::Tensor piece = stereo.next(); piece.defined(); piece = stereo.next()) {
    EXPECT_EQ(piece.size(0), 2);
    samples += piece.size(1);
  }
  EXPECT_EQ(samples, int64_t(44100 * 0.017));
  EXPECT_EQ(AudioReader({media_file("three.wav"), "audio_url"}, Mix::Stereo).channels(), 2);
  EXPECT_EQ(AudioReader({media_file("telephone.wav"), "audio_url"}, Mix::Stereo).channels(), 1);
}

TEST(ReadAudio, ReadsTheSoundOfVideos) {
  EXPECT_NEAR(double(read_audio({media_file("aac_sound.mp4"), "audio_url"}, 16000).samples.numel()), 16000, 400);
}

TEST(ReadAudio, RefusesWhatHasNoSound) {
  for (const char* name : {"empty.wav", "upright.mp4", "rgb.png", "make.py", "absent.wav"}) {
    try {
      read_audio({media_file(name), "audio_url"}, 16000);
      ADD_FAILURE() << name << " was read";
    } catch (const InvalidRequest& error) {
      EXPECT_EQ(error.errors.at(0).field, "audio_url");
    }
  }
}

TEST(ReadAudio, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder / "damaged").string();
  for (const char* name : {"telephone.wav", "stereo.wav", "sound.flac", "tone.mp3", "tone.m4a", "tone.ogg"}) {
    const std::string whole = bytes_of(media_file(name));
    for (size_t cut = 0; cut < whole.size(); cut += 1 + whole.size() / 15) {
      for (bool truncate : {true, false}) {
        std::string bytes = truncate ? whole.substr(0, cut) : whole;
        if (!truncate) bytes[cut] = char(bytes[cut] ^ 0xA5);
        write_bytes(path, bytes);
        try {
          EXPECT_GT(read_audio({path, "audio_url"}, 16000).samples.numel(), 0) << name << " " << cut;
        } catch (const InvalidRequest&) {
        }
      }
    }
  }
}

/// A second of 44.1 kHz with a click at 0.6 s, as `name`.
std::string clicked(const TemporaryFolder& folder, const std::string& name, const std::string& options) {
  const std::string path = folder / name;
  ffmpeg("-f lavfi -i \"aevalsrc='0.8*between(t,0.6,0.61)':s=44100:d=1\" " + options + " '" + path + "'");
  return path;
}

/// Milliseconds until the click in samples at 16 kHz.
double click(const at::Tensor& samples) {
  const at::Tensor loud = (samples.abs() > 0.3).nonzero();
  return loud.numel() > 0 ? loud[0].item<double>() / 16 : -1;
}

TEST(AudioReader, HolesAreFilledByTimeStamps) {
  TemporaryFolder folder;
  const std::string hole = "-af \"aselect='not(between(t,0.2,0.5))'\" ";
  for (const auto& [name, codec, at] : {std::tuple{"hole.mka", "-c:a flac", 600.},
                                        {"hole.ts", "-c:a mp2", 611.},
                                        {"hole.m4a", "-c:a alac", 600.},
                                        {"hole.asf", "-c:a wmav2", 600. - 46}}) {
    SCOPED_TRACE(name);
    const std::string path = clicked(folder, name, hole + codec);
    EXPECT_NEAR(click(read_audio({path, "audio_url"}, 16000).samples), at, 3);
    AudioReader reader({path, "audio_url"}, Mix::Mono);
    while (reader.next().defined()) {
    }
    EXPECT_NEAR(reader.filled_seconds(), 0.3, 0.05);
  }
  // Where times are only counted, samples are all there is.
  const std::string counted = clicked(folder, "counted.wav", hole);
  EXPECT_NEAR(click(read_audio({counted, "audio_url"}, 16000).samples), 300, 30);
}

TEST(AudioReader, WhatOverlapsIsLeftOut) {
  TemporaryFolder folder;
  const std::string both = folder / "both.ts";
  const std::string first = clicked(folder, "first.ts", "-c:a mp2 -af volume=0");
  const std::string second = clicked(folder, "second.ts", "-c:a mp2 -output_ts_offset 0.7");
  write_bytes(both, bytes_of(first) + bytes_of(second));
  const at::Tensor samples = read_audio({both, "audio_url"}, 16000).samples;
  // The encoder's delay of 11 ms is before the second one's time.
  EXPECT_NEAR(click(samples), 700 + 600, 3);
  EXPECT_NEAR(double(samples.numel()) / 16, 700 - 11 + 1019, 3);
}

// A clock that starts anew, as in broadcasts that were joined: nothing is lost, and no hour of silence comes.
TEST(AudioReader, GoesOnWithAnotherClock) {
  TemporaryFolder folder;
  const std::string both = folder / "both.ts";
  for (const char* offset : {"20000", "40"}) {
    const std::string first = clicked(folder, "first.ts", "-c:a mp2 -af volume=0 -output_ts_offset 30");
    const std::string second = clicked(folder, "second.ts", std::string("-c:a mp2 -output_ts_offset ") + offset);
    write_bytes(both, bytes_of(first) + bytes_of(second));
    const at::Tensor samples = read_audio({both, "audio_url"}, 16000).samples;
    EXPECT_NEAR(double(samples.numel()) / 16000, std::string(offset) == "40" ? 11 : 2, 0.05);
  }
}

TEST(AudioReader, AChangeOfRateIsRefusedForSpeechAndConvertedElse) {
  TemporaryFolder folder;
  const std::string both = folder / "both.ts";
  write_bytes(both, bytes_of(clicked(folder, "first.ts", "-c:a mp2 -af volume=0")) +
                        bytes_of(clicked(folder, "second.ts", "-c:a mp2 -ar 48000 -ac 2 -output_ts_offset 1.02")));
  EXPECT_THROW(read_audio({both, "audio_url"}, 16000), InvalidRequest);
  AudioReader reader({both, "video_url"}, Mix::Stereo, 16000);
  std::vector<at::Tensor> pieces;
  for (at::Tensor piece = reader.next(); piece.defined(); piece = reader.next()) pieces.push_back(piece);
  EXPECT_NEAR(click(at::cat(pieces, 1)[0]), 1631, 5);
}

}  // namespace
}  // namespace wan
