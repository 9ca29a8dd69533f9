// What is told of a sound that is to move lips.
#include "engine/speech/sound_notes.h"

#include <gtest/gtest.h>

#include "engine/speech/waveform.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

/// The notes of a second of sound, of one formula for each channel.
std::string notes_of(const std::string& channels, const std::string& options = "-c:a pcm_s16le sound.wav") {
  TemporaryFolder folder;
  const size_t cut = options.rfind(' ');
  const std::string path = folder / options.substr(cut + 1);
  ffmpeg("-f lavfi -i \"aevalsrc='" + channels + "':d=1:s=44100\" " + options.substr(0, cut) + " '" + path + "'");
  Notes notes;
  note_sound(open_waveform({path, "audio_url"}), notes);
  std::string text;
  for (const Note& note : notes.list()) text += note.text + "; " + note.change;
  return text;
}

TEST(SoundNotes, NothingIsSaidOfAnOrdinarySound) {
  EXPECT_EQ(notes_of("0.3*sin(800*t)"), "");
  EXPECT_EQ(notes_of("0.3*sin(800*t)|0.2*sin(500*t)"), "");
  EXPECT_EQ(notes_of("0.3*sin(800*t)|0.3*sin(800*t)"), "");
  EXPECT_EQ(notes_of("0.3*sin(800*t)|-0.2*sin(800*t)"), "") << "a sixth is left";
  EXPECT_EQ(notes_of("0.999*sin(800*t)"), "");
  EXPECT_EQ(notes_of("0.002*sin(800*t)"), "");
}

TEST(SoundNotes, Silence) {
  EXPECT_EQ(notes_of("0"), "the sound is silent: nothing in it moves the lips; ");
  EXPECT_EQ(notes_of("0|0", "-c:a libmp3lame sound.mp3"), "the sound is silent: nothing in it moves the lips; ");
  EXPECT_EQ(notes_of("0.0005*sin(800*t)"),
            "the sound is hardly to be heard: its loudest sample is -66 dB; "
            "ffmpeg -i SOUND -af loudnorm LOUD.wav makes it louder");
}

TEST(SoundNotes, ChannelsThatCancelEachOther) {
  const std::string inverted =
      "the channels of the sound cancel each other: one is the other upside down; the lips follow their mean, which is "
      "all but silent; ffmpeg -i SOUND -af 'pan=mono|c0=c0' ONE.wav takes one channel alone";
  EXPECT_EQ(notes_of("0.3*sin(800*t)|-0.3*sin(800*t)"), inverted);
  EXPECT_EQ(notes_of("0.3*sin(800*t)|-0.3*sin(800*t)", "-c:a libmp3lame sound.mp3"), inverted);
  EXPECT_EQ(notes_of("0.3*sin(800*t)|-0.28*sin(800*t)"), inverted);
}

TEST(SoundNotes, OneSide) {
  EXPECT_EQ(notes_of("0.3*sin(800*t)|0"),
            "the sound is on its left channel alone, and so is the video's; "
            "ffmpeg -i SOUND -af 'pan=mono|c0=c0' BOTH.wav puts it on both sides");
  EXPECT_EQ(notes_of("0|0.3*sin(800*t)"),
            "the sound is on its right channel alone, and so is the video's; "
            "ffmpeg -i SOUND -af 'pan=mono|c0=c1' BOTH.wav puts it on both sides");
}

TEST(SoundNotes, Distortion) {
  EXPECT_EQ(notes_of("1.2*sin(800*t)"), "the sound is distorted: 37 % of its samples are at full scale or beyond; ");
  EXPECT_NE(notes_of("12000*sin(800*t)", "-c:a pcm_f32le sound.wav").find("the sound is distorted: 100 %"),
            std::string::npos);
}

TEST(SoundNotes, Holes) {
  EXPECT_EQ(notes_of("0.3*sin(800*t)", "-af \"aselect='not(between(t,0.4,0.6))'\" -c:a flac sound.mka").substr(0, 25),
            "the sound has holes: 0.19");
}

}  // namespace
}  // namespace wan
