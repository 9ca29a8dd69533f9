// How long sounds last, told from their bytes: made by hand, made by encoders, and hostile.
#include "engine/serve/api/sound_length.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "models/files/scratch_folder.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

std::string little(uint64_t number, int bytes = 4) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += char(number >> (8 * i));
  return text;
}

std::string big(uint64_t number, int bytes = 4) {
  std::string text;
  for (int i = bytes; i-- > 0;) text += char(number >> (8 * i));
  return text;
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

class StatedSeconds : public testing::Test {
 protected:
  double of(const std::string& bytes, double enough = kNoLimit) const {
    std::ofstream(path_, std::ios::binary) << bytes;
    return stated_seconds(path_, enough);
  }

  const ScratchFolder folder_;
  const fs::path path_ = folder_.path / "sound";
};

TEST_F(StatedSeconds, OfWaves) {
  const std::string format = "fmt " + little(16) + "\1\0\1\0"s + little(100) + little(200) + "\2\0\20\0"s;
  const std::string head = "RIFF" + little(0) + "WAVE" + format;
  EXPECT_EQ(of(head + "data" + little(600) + std::string(600, 'x')), 3);
  EXPECT_EQ(of(head + "LIST" + little(3) + "abc?" + "data" + little(600) + std::string(600, 'x')), 3);
  EXPECT_EQ(of(head + "data" + little(0xFFFFFFFF) + std::string(400, 'x')), 2);
  EXPECT_LT(of("RIFF"), 0);
  EXPECT_LT(of(head), 0);
  EXPECT_LT(stated_seconds(folder_.path / "absent", kNoLimit), 0);
  EXPECT_LT(stated_seconds(folder_.path, kNoLimit), 0);
}

TEST_F(StatedSeconds, OfFlac) {
  std::string flac = "fLaC" + std::string(4, '\0') + std::string(10, '\0');
  flac += "\x0A\xC4\x42\xF0\0\x15\x88\x80"s + std::string(16, '\0');  // 44100 Hz, 1411200 samples
  EXPECT_EQ(of(flac), 32);
  EXPECT_LT(of(flac.substr(0, 20)), 0);
}

/// A frame of MPEG audio of version 1, layer III: 128 kbit/s, 44.1 kHz, 417 bytes, 1152 samples.
std::string mpeg_frame() {
  return "\xFF\xFB\x90\x64"s + std::string(413, '\0');
}

TEST_F(StatedSeconds, OfMpegAudioAreCountedFrameByFrame) {
  constexpr double kFrame = 1152 / 44100.0;
  EXPECT_NEAR(of(repeated(mpeg_frame(), 100)), 100 * kFrame, 1e-9);
  const std::string tag = "ID3\4\0\0"s + "\0\0\2\0"s + std::string(256, 'a');  // 2 * 128 bytes
  EXPECT_NEAR(of(tag + repeated(mpeg_frame(), 100) + "TAG" + std::string(125, ' ')), 100 * kFrame, 1e-9);
  // What the first frame says of the others does not count, nor does it itself: here 100,000 by its word.
  std::string info = mpeg_frame();
  info.replace(36, 12, "Xing" + big(1) + big(100'000));
  EXPECT_NEAR(of(info + repeated(mpeg_frame(), 9)), 9 * kFrame, 1e-9);
  // A frame that was cut off, and damage, end the count.
  EXPECT_NEAR(of(repeated(mpeg_frame(), 3) + mpeg_frame().substr(0, 300)), 3 * kFrame, 1e-9);
  EXPECT_NEAR(of(repeated(mpeg_frame(), 3) + std::string(9000, 'x') + mpeg_frame()), 3 * kFrame, 1e-9);
  const double counted = of(repeated(mpeg_frame(), 5000), 10);
  EXPECT_GT(counted, 10);
  EXPECT_LT(counted, 10.1) << "no more than was asked for";
}

TEST_F(StatedSeconds, OfMpegAudioOfEachVersionAndLayer) {
  struct Case {
    std::string header;
    size_t bytes;
    double seconds;
  };
  const Case cases[] = {
      {"\xFF\xFB\x92\x64"s, 418, 1152 / 44100.},  // with a byte of padding
      {"\xFF\xF3\x84\x64"s, 192, 576 / 24000.},   // version 2, layer III: 64 kbit/s, 24 kHz
      {"\xFF\xE3\x48\x64"s, 288, 576 / 8000.},    // version 2.5, layer III: 32 kbit/s, 8 kHz
      {"\xFF\xFD\x84\x64"s, 384, 1152 / 48000.},  // layer II: 128 kbit/s, 48 kHz
      {"\xFF\xFF\x84\x64"s, 256, 384 / 48000.},   // layer I: 256 kbit/s, 48 kHz
  };
  for (const Case& known : cases) {
    const std::string frame = known.header + std::string(known.bytes - 4, '\0');
    EXPECT_NEAR(of(repeated(frame, 21)), 21 * known.seconds, 1e-9) << known.bytes;
  }
}

TEST_F(StatedSeconds, OfAac) {
  // 44.1 kHz, one block of 1024 samples, 100 bytes.
  std::string frame = "\xFF\xF1\x50\x80"s + std::string(96, '\0');
  frame[4] = char(100 >> 3), frame[5] = char((100 & 7) << 5 | 0x1F), frame[6] = '\xFC';
  EXPECT_NEAR(of(repeated(frame, 50)), 50 * 1024 / 44100.0, 1e-9);
}

std::string box(const std::string& type, const std::string& content) {
  return big(8 + content.size()) + type + content;
}

/// A track of `units` of media time, 1000 a second, that is shown for so many of the movie's, 600 a second.
std::string track(const char* handler, uint64_t units, uint64_t shown) {
  const std::string tkhd = box("tkhd", big(0) + big(1) + big(2) + big(7) + big(0) + big(shown) + std::string(60, '\0'));
  const std::string mdhd = box("mdhd", big(0) + big(1) + big(2) + big(1000) + big(units) + big(0));
  const std::string hdlr = box("hdlr", big(0) + big(0) + handler + std::string(13, '\0'));
  return box("trak", tkhd + box("mdia", mdhd + hdlr));
}

std::string movie(const std::string& tracks) {
  const std::string mvhd = box("mvhd", big(0) + big(1) + big(2) + big(600) + big(90'000'000) + std::string(80, '\0'));
  return box("ftyp", "M4A " + big(0)) + box("moov", mvhd + tracks);
}

TEST_F(StatedSeconds, OfBoxesAreThoseOfTheShortestSound) {
  const std::string data = box("mdat", std::string(1000, 'x'));
  EXPECT_EQ(of(movie(track("soun", 121'000, 0)) + data), 121);
  EXPECT_EQ(of(movie(track("vide", 500'000, 0) + track("soun", 5000, 0) + track("soun", 7000, 0)) + data), 5);
  EXPECT_EQ(of(movie(track("soun", 121'000, 60'000)) + data), 100) << "cut by an edit list";
  EXPECT_LT(of(movie(track("vide", 500'000, 0)) + data), 0);
  EXPECT_LT(of(movie(track("soun", 0, 0)) + data), 0) << "in fragments";
  EXPECT_LT(of(movie(track("soun", 0xFFFFFFFF, 0)) + data), 0);
  EXPECT_LT(of(movie(track("soun", 121'000, 0)) + data.substr(0, 500)), 0) << "cut off";
  // Version 1 has longer numbers; a box of 64 bits, and one up to the end of the file.
  const std::string mdhd = box("mdhd", "\1\0\0\0"s + big(1, 8) + big(2, 8) + big(1000) + big(130'000, 8) + big(0));
  const std::string hdlr = box("hdlr", big(0) + big(0) + "soun" + std::string(13, '\0'));
  const std::string content = box("trak", box("mdia", hdlr + mdhd));
  const std::string wide = big(1) + "moov" + big(16 + content.size(), 8) + content;
  EXPECT_EQ(of(box("ftyp", "isom" + big(0)) + wide + big(0) + "mdat" + std::string(100, 'x')), 130);
}

std::string page(uint32_t stream, uint64_t samples, const std::string& content, int flags = 0) {
  std::string table;
  size_t rest = content.size();
  for (; rest >= 255; rest -= 255) table += '\xFF';
  table += char(rest);
  return "OggS\0"s + char(flags) + little(samples, 8) + little(stream) + little(0) + little(0) + char(table.size()) +
         table + content;
}

TEST_F(StatedSeconds, OfPagesAreThoseOfTheirLastSample) {
  const std::string opus =
      page(7, 0, "OpusHead\1\1" + little(312, 2) + std::string(7, '\0'), 2) + page(7, 0, "OpusTags");
  const std::string vorbis = page(9, 0, "\1vorbis" + little(0) + "\1" + little(44100) + std::string(14, '\0'), 2) +
                             page(9, 0, std::string(60'000, 't'));
  const uint64_t none = UINT64_MAX;
  EXPECT_EQ(of(opus + page(7, 48000, "x") + page(7, 48000 * 5 + 312, "x")), 5);
  EXPECT_EQ(of(opus + page(7, 48000, "x") + page(7, 48000 * 5 + 312, "x") + page(7, none, "x")), 5);
  EXPECT_EQ(of(vorbis + page(9, none, std::string(60'000, 'x')) + page(9, 44100, "x") + page(9, 44100 * 9, "x")), 9);
  // Beside a picture's stream, and recorded from a broadcast that had lasted for hours.
  EXPECT_EQ(of(page(1, 0, "\x80theora", 2) + opus + page(1, 5, "x") + page(7, 48000, "x") + page(7, 480312, "x") +
               page(1, 9, "x")),
            10);
  EXPECT_EQ(of(opus + page(7, 48000ull * 9000, "x") + page(7, 48000ull * 9003, "x")), 3);
  EXPECT_LT(of(opus), 0);
  EXPECT_LT(of(opus + page(7, 48000, "x") + page(8, 0, "OpusHead", 2) + std::string(200'000, 'x')), 0);
  EXPECT_LT(of(page(1, 0, "\x80theora", 2) + page(1, 5, "x")), 0);
  EXPECT_LT(of("OggS"), 0);
}

TEST_F(StatedSeconds, OfHostileFilesComeSoonAndHarmNothing) {
  // Boxes in boxes, without end, of no size, larger than the file; pages and frames without content.
  const std::string ftyp = box("ftyp", "isom" + big(0));
  EXPECT_LT(of(ftyp + repeated(big(8) + "free", 100'000)), 0);
  EXPECT_LT(of(ftyp + big(7) + "moov"), 0);
  EXPECT_LT(of(ftyp + big(1) + "moov" + big(UINT64_MAX, 8)), 0);
  EXPECT_LT(of(ftyp + box("moov", repeated(box("trak", ""), 50'000))), 0);
  EXPECT_LT(of(repeated("OggS"s + std::string(23, '\0'), 20'000)), 0);
  EXPECT_LT(of("ID3\4\0\0\x7F\x7F\x7F\x7F"s + mpeg_frame()), 0);
  std::mt19937 random(5);
  const std::string samples[] = {
      movie(track("soun", 1000, 600)), repeated(mpeg_frame(), 10),
      page(7, 0, "OpusHead\1\1" + little(312, 2) + std::string(7, '\0'), 2) + page(7, 9600, "x")};
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = samples[round % 3];
    for (int i = 0; i < 8; ++i) bytes[random() % bytes.size()] = char(random());
    of(bytes.substr(0, random() % (bytes.size() + 1)), 120);
  }
}

TEST_F(StatedSeconds, OfWhatEncodersMakeIsWhatDecodersGive) {
  struct Case {
    const char *name, *codec;
    double padding;  // that the encoder adds, at most
  };
  constexpr Case kCases[] = {{"a.mp3", "libmp3lame -b:a 64k", 0.1},
                             {"v.mp3", "libmp3lame -q:a 7", 0.1},
                             {"low.mp3", "libmp3lame -ar 8000 -b:a 16k", 0.25},
                             {"a.m4a", "aac", 0.03},
                             {"f.mp4", "aac -movflags +faststart", 0.03},
                             {"a.aac", "aac", 0.1},
                             {"a.ogg", "libvorbis", 0.03},
                             {"a.opus", "libopus", 0.03},
                             {"a.flac", "flac", 0},
                             {"a.wav", "pcm_s16le", 0},
                             {"oga.oga", "flac", 0.01}};
  for (const Case& known : kCases) {
    const fs::path made = folder_.path / known.name;
    const std::string command =
        "ffmpeg -nostdin -loglevel error -f lavfi -i \"sine=220:sample_rate=44100:duration=6.5\" "
        "-c:a " +
        std::string(known.codec) + " " + made.string();
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const double seconds = stated_seconds(made, 120);
    EXPECT_GE(seconds, 6.5 - 0.001) << known.name;
    EXPECT_LE(seconds, 6.5 + known.padding + 0.001) << known.name;
  }
}

}  // namespace
}  // namespace wan::serve
