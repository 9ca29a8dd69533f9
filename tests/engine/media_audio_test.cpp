// Sound files: 16 kHz samples equal librosa's to the bit.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

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

}  // namespace
}  // namespace wan
