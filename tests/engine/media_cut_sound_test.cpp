// Sounds that end before their file says so are told; headers of writers that could not go back are not.
#include <filesystem>

#include "engine/speech/sound_notes.h"
#include "engine/speech/waveform.h"
#include "tests/engine/media_ffmpeg.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::string kSound = "-f lavfi -i \"aevalsrc='0.3*sin(800*t)|0.2*sin(500*t)':d=3:s=44100\" ";

/// What is told of the sound, one line each.
std::string told(const std::string& path) {
  Notes notes;
  note_sound(open_waveform({path, "audio_url"}), notes);
  std::string text;
  for (const Note& note : notes.list()) text += note.text + "\n";
  return text;
}

bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

struct Case {
  const char *name, *options;
};

TEST(CutSound, HasNoWordsOfALibrary) {
  TemporaryFolder folder;
  for (const Case& one : {Case{"a.mka", "-c:a flac"}, {"b.mka", "-c:a libopus"}, {"a.webm", "-c:a libopus"}}) {
    const std::string path = (folder / one.name).string();
    ffmpeg(kSound + one.options + " " + path);
    const std::string whole = bytes_of(path);
    for (size_t size = 1; size < 700; size += 23) {
      SCOPED_TRACE(one.name + std::to_string(size));
      write_bytes(path, whole.substr(0, size));
      std::string text;
      try {
        text = told(path);
      } catch (const std::exception& error) {
        text = error.what();
      }
      EXPECT_FALSE(has(text, "Input/output") || has(text, "FFmpeg fails")) << text;
      EXPECT_NE(text, "");
    }
  }
}

TEST(CutSound, IsToldBySeconds) {
  TemporaryFolder folder;
  for (const Case& one : {Case{"a.wav", ""},
                          {"rf64.wav", "-rf64 always"},
                          {"adpcm.wav", "-c:a adpcm_ms"},
                          {"float.wav", "-c:a pcm_f32le"},
                          {"a.w64", ""},
                          {"a.aiff", ""},
                          {"a.au", ""},
                          {"a.caf", "-c:a pcm_s16le"},
                          {"a.flac", ""},
                          {"a.tta", ""},
                          {"a.wv", ""},
                          {"a.m4a", "-c:a aac -movflags +faststart"},
                          {"alac.m4a", "-c:a alac -movflags +faststart"},
                          {"a.mp3", ""},
                          {"a.mka", "-c:a libmp3lame"},
                          {"a.flv", "-c:a aac"}}) {
    SCOPED_TRACE(one.name);
    const std::string path = folder / one.name;
    ffmpeg(kSound + one.options + " '" + path + "'");
    EXPECT_EQ(told(path), "");
    const std::string whole = bytes_of(path);
    write_bytes(path, whole.substr(0, whole.size() * 6 / 10));
    const std::string text = told(path);
    EXPECT_TRUE(has(text, "the sound ends early: ") && has(text, " of the 3.0")) << text;
  }
}

// A film whose picture is longer than its sound is whole.
TEST(CutSound, OfAFilmIsTold) {
  TemporaryFolder folder;
  const std::string path = folder / "a.mkv";
  ffmpeg("-f lavfi -i testsrc=s=64x48:r=16:d=5 " + kSound + "-c:v libx264 -c:a flac '" + path + "'");
  EXPECT_EQ(told(path), "");
  const std::string whole = bytes_of(path);
  write_bytes(path, whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(has(told(path), "the sound ends early: ")) << told(path);
}

TEST(CutSound, OggIsToldByItsLastPage) {
  TemporaryFolder folder;
  for (const Case& one : {Case{"a.ogg", "-c:a libvorbis"}, {"a.opus", "-c:a libopus"}, {"flac.ogg", "-c:a flac"}}) {
    SCOPED_TRACE(one.name);
    const std::string path = folder / one.name;
    ffmpeg(kSound + one.options + " -page_duration 200000 '" + path + "'");
    EXPECT_EQ(told(path), "");
    const std::string whole = bytes_of(path);
    const size_t last = whole.rfind("OggS");
    for (size_t cut : {last + 10, last + 28, whole.size() - 1}) {
      write_bytes(path, whole.substr(0, cut));
      EXPECT_EQ(told(path), "the sound ends early: the last page of the Ogg file is cut short\n") << cut;
    }
    for (size_t cut : {last, last + 3}) {
      write_bytes(path, whole.substr(0, cut));
      EXPECT_TRUE(has(told(path), "the sound may end early: the last page of the Ogg file is not marked as its end"))
          << told(path);
    }
    write_bytes(path, whole + std::string(1000, '\0'));
    EXPECT_EQ(told(path), "") << "bytes behind the end do not matter";
  }
}

TEST(CutSound, CutOggVideoIsTold) {
  TemporaryFolder folder;
  const std::string path = folder / "a.ogv";
  ffmpeg("-f lavfi -i testsrc=s=64x48:r=16:d=3 " + kSound + "-c:v libtheora -c:a libvorbis '" + path + "'");
  EXPECT_FALSE(read_whole(path).tells(" early"));
  const std::string whole = bytes_of(path);
  write_bytes(path, whole.substr(0, whole.size() * 2 / 3));
  EXPECT_TRUE(read_whole(path).tells("the video ends early: the last page of the Ogg file is cut short"));
}

std::string little_endian(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) bytes += char(value >> 8 * i);
  return bytes;
}

TEST(OpenHeader, OfAWavIsSilent) {
  TemporaryFolder folder;
  const std::string path = folder / "a.wav";
  write_sound(path, 16000, 3);
  const std::string whole = bytes_of(path);
  const size_t length = whole.find("data") + 4;
  // ffmpeg, sox, arecord, less a header, and one that counts its own 44 bytes.
  for (uint64_t open : {uint64_t(0), uint64_t(0xFFFFFFFF), uint64_t(0x7FFFF000), uint64_t(0x7F000000),
                        uint64_t(0x80000000), uint64_t(0xFFFFFFFF) - 36, whole.size()}) {
    std::string bytes = whole;
    bytes.replace(length, 4, little_endian(open, 4));
    write_bytes(path, bytes);
    EXPECT_EQ(told(path), "") << open;
  }
  std::string bytes = whole;
  bytes.replace(length, 4, little_endian(0x7E000000, 4));
  write_bytes(path, bytes);
  EXPECT_TRUE(has(told(path), "the sound ends early: it has 3.00 s of the 66060.29 s")) << told(path);
}

TEST(OpenHeader, OfLongFormatsAndPipesIsSilent) {
  TemporaryFolder folder;
  const std::string path = folder / "a.wav";
  for (const char* options :
       {"-f wav", "-c:a pcm_f32le -f wav", "-c:a adpcm_ms -f wav", "-f flac", "-f caf -c:a pcm_s16le", "-f tta"}) {
    ffmpeg(kSound + options + " - | cat > '" + path + "'");
    EXPECT_EQ(told(path), "") << options;
  }
  ffmpeg(kSound + "-rf64 always '" + path + "'");
  const std::string whole = bytes_of(path);
  // libavformat reads nothing of a file whose length is 0 there, and refuses -1.
  for (uint64_t open : {uint64_t(INT64_MAX), uint64_t(UINT32_MAX)}) {
    std::string bytes = whole;
    bytes.replace(whole.find("ds64") + 16, 8, little_endian(open, 8));
    write_bytes(path, bytes);
    EXPECT_EQ(told(path), "") << open;
  }
  // sox into a pipe: as many samples as there would be in 0x7F000000 bytes.
  const std::string aiff = folder / "a.aiff";
  ffmpeg(kSound + "'" + aiff + "'");
  std::string bytes = bytes_of(aiff);
  bytes.replace(bytes.find("COMM") + 10, 4, std::string("\x1F\xC0\0\0", 4));
  write_bytes(aiff, bytes);
  EXPECT_EQ(told(aiff), "");
}

}  // namespace
}  // namespace wan
