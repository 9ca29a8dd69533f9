#include "engine/speech/waveform.h"

#include <ATen/ATen.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

/// 16-bit mono WAV.
void write_wav(const std::filesystem::path& path, int32_t rate, const Tensor& samples) {
  Tensor data = samples.mul(32767).round().to(at::kShort);
  auto size = int32_t(data.numel() * 2);
  std::ofstream out(path, std::ios::binary);
  auto put = [&](auto value) { out.write(reinterpret_cast<const char*>(&value), sizeof value); };
  out << "RIFF";
  put(36 + size);
  out << "WAVEfmt ";
  put(int32_t(16)), put(int16_t(1)), put(int16_t(1)), put(rate), put(rate * 2), put(int16_t(2)), put(int16_t(16));
  out << "data";
  put(size);
  out.write(static_cast<const char*>(data.data_ptr()), size);
}

TEST(Waveform, ReadsByPositionWhatTheFileHolds) {
  TemporaryFolder folder;
  for (int32_t rate : {16000, 44100}) {
    const std::string path = folder / "sound.wav";
    write_wav(path, rate, (at::arange(5 * rate, at::kDouble) * 0.013).sin() * 0.8);
    Tensor whole = read_audio({path, "audio_url"}, 16000).samples;
    Waveform wave = open_waveform({path, "audio_url"});
    ASSERT_EQ(wave.samples, whole.size(0));
    // Forward, overlapping, over a gap, one sample, back to the start, and to the end.
    const std::pair<int64_t, int64_t> reads[] = {{0, 30000}, {20000, 30000}, {20000, 5},    {20000, 40000},
                                                 {70001, 1}, {0, 10},        {79000, 1000}, {0, 80000}};
    for (const auto& [start, count] : reads)
      EXPECT_TRUE(at::equal(wave.read(start, count), whole.narrow(0, start, count))) << start << " at " << rate;
  }
  EXPECT_THROW(open_waveform({(folder / "absent.wav").string(), "audio_url"}), InvalidRequest);
}

/// A tone that swells, so that each part has a mean square of its own.
Tensor swelling(double seconds) {
  const Tensor time = at::arange(int64_t(seconds * 16000), at::kDouble) / 16000;
  return (time * 900).sin() * time / 1000;
}

TEST(Waveform, OfALongSoundOnlyWhatIsNeededIsRead) {
  TemporaryFolder folder;
  const MediaFile longer{folder / "longer.wav", "audio_url"}, shorter{folder / "shorter.wav", "audio_url"};
  const MediaFile minutes{folder / "two.wav", "audio_url"};
  const Tensor sound = swelling(150);
  write_wav(longer.path, 16000, sound);
  write_wav(shorter.path, 16000, sound.narrow(0, 0, 125 * 16000));
  write_wav(minutes.path, 16000, sound.narrow(0, 0, 120 * 16000));
  const Waveform whole = open_waveform(longer), cut = open_waveform(longer, 2.5);
  EXPECT_EQ(cut.samples, 12.5 * 16000);
  EXPECT_TRUE(at::equal(cut.read(0, cut.samples), whole.read(0, cut.samples)));
  EXPECT_EQ(cut.statistics.count(), 120 * 16000 + 400);
  EXPECT_EQ(cut.stated_seconds, 0);
  // What comes later makes no difference.
  const Waveform other = open_waveform(shorter, 2.5);
  const Tensor some = whole.read(0, 1000);
  EXPECT_TRUE(at::equal(other.statistics.normalise(some), cut.statistics.normalise(some)));
  EXPECT_FALSE(at::equal(whole.statistics.normalise(some), cut.statistics.normalise(some)));
  // What the encoder sees at once it sees whole, as the reference does.
  EXPECT_EQ(open_waveform(minutes, 2.5).samples, 120 * 16000);
  EXPECT_EQ(open_waveform(longer, 145).samples, 150 * 16000);
  EXPECT_EQ(open_waveform(longer, 130).samples, 140 * 16000);
}

TEST(Waveform, ALongSoundIsReadByWalks) {
  TemporaryFolder folder;
  const MediaFile file{folder / "long.wav", "audio_url"};
  const Tensor sound = swelling(603);
  write_wav(file.path, 16000, sound);
  const Waveform wave = open_waveform(file);
  EXPECT_EQ(wave.samples, 603 * 16000);
  for (int64_t start : {0, 16000 * 600, 16000 * 3})
    EXPECT_TRUE(
        is_close(wave.read(start, 32000), sound.narrow(0, start, 32000).to(at::kFloat), 5e-5))  // a step of 16 bits
        << start;
}

TEST(Waveform, AnInterruptIsObeyedEachMinute) {
  TemporaryFolder folder;
  const MediaFile file{folder / "long.wav", "audio_url"};
  write_wav(file.path, 16000, swelling(130));
  std::vector<double> asked;
  open_waveform(file, {}, [&](double seconds, double all) {
    asked.push_back(seconds);
    EXPECT_NEAR(all, 130, 0.1);
  });
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_NEAR(asked[1], 120, 1);
  EXPECT_THROW(open_waveform(file, {}, [](double, double) { throw Cancelled(); }), Cancelled);
}

// A float WAV can hold it; one such sample would spoil mean and variance, and with them every frame.
TEST(Waveform, ASoundWithNanIsRefused) {
  TemporaryFolder folder;
  const std::string path = folder / "nan.wav";
  ffmpeg("-f lavfi -i \"aevalsrc='if(between(t,0.5,0.51),0/0,0.1)':d=1:s=16000\" -c:a pcm_f32le '" + path + "'");
  try {
    open_waveform({path, "audio_url"});
    ADD_FAILURE() << "was taken";
  } catch (const InvalidRequest& error) {
    EXPECT_NE(std::string(error.what()).find("has NaN or Inf among its samples"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace wan
