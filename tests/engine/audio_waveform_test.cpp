#include "engine/speech/waveform.h"

#include <ATen/ATen.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
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

}  // namespace
}  // namespace wan
