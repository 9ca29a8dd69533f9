// What is told of a sound that is to move lips.
#include "engine/speech/sound_notes.h"

#include <gtest/gtest.h>

#include "engine/job/speech.h"
#include "engine/media/png.h"
#include "engine/request/parse.h"
#include "engine/speech/waveform.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"

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
  const std::string silent = "the sound is silent: nothing in it moves the lips; take a sound in which one speaks";
  EXPECT_EQ(notes_of("0"), silent);
  EXPECT_EQ(notes_of("0|0", "-c:a libmp3lame sound.mp3"), silent);
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
  EXPECT_EQ(notes_of("1.2*sin(800*t)"),
            "the sound is distorted: 37 % of its samples are at full scale or beyond; record or export it at a lower "
            "level");
  EXPECT_NE(notes_of("12000*sin(800*t)", "-c:a pcm_f32le sound.wav").find("the sound is distorted: 100 %"),
            std::string::npos);
}

TEST(SoundNotes, Holes) {
  EXPECT_EQ(notes_of("0.3*sin(800*t)", "-af \"aselect='not(between(t,0.4,0.6))'\" -c:a flac sound.mka").substr(0, 25),
            "the sound has holes: 0.19");
}

TEST(SoundNotes, OtherTracks) {
  TemporaryFolder folder;
  const std::string path = folder / "three.mka";
  ffmpeg("-f lavfi -i sine=d=1 -f lavfi -i sine=900:d=1 -f lavfi -i sine=200:d=1 -map 0 -map 1 -map 2 -c:a flac '" +
         path + "'");
  Notes notes;
  note_sound(open_waveform({path, "audio_url"}), notes);
  ASSERT_EQ(notes.list().size(), 1u);
  EXPECT_EQ(notes.list()[0],
            (Note{"audio_url", "the file has 3 sound tracks: number 1 is heard, the others are left out",
                  "ffmpeg -i FILE -map 0:v? -map 0:a:1 -c copy OTHER.mkv keeps another one"}));
}

/// The notes on the length of a speech video: of a sound of so many seconds, and with these fields of the request.
std::string length_notes(double seconds, nlohmann::json fields) {
  TemporaryFolder folder;
  write_png(folder / "face.png", moving_picture(1, 64, 64)[0]);
  write_sound(folder / "voice.wav", 16000, seconds);
  fields.update({{"model", "absent"},
                 {"prompt", ""},
                 {"image_url", "face.png"},
                 {"audio_url", "voice.wav"},
                 {"width", 64},
                 {"height", 64},
                 {"unlocked", true}});
  const Request request = parse(Task::S2V, fields, {.folder = folder.path()});
  Notes notes;
  Silent silent;
  check_speech(request, input_files(request, "", silent), notes, silent);
  std::string text;
  for (const Note& note : notes.list())
    if (note.text.find("ends after") != std::string::npos) text += note.text + "; ";
  return text;
}

TEST(SpeechLength, SpeechAfterTheEndOfTheVideoIsTold) {
  EXPECT_EQ(length_notes(4, {{"num_frames", 40}}),
            "1.50 s of the sound are left out: the video ends after 2.50 s, the sound after 4.00 s; ");
  EXPECT_EQ(length_notes(150, {{"num_frames", 40}}),
            "147.50 s of the sound are left out: the video ends after 2.50 s, the sound after 150.00 s; ");
  EXPECT_EQ(length_notes(4, {}), "");
  EXPECT_EQ(length_notes(2.55, {{"num_frames", 40}}), "");
  EXPECT_EQ(length_notes(4, {{"num_frames", 40}, {"preset", "reference"}}), "") << "there it is the length of a clip";
}

TEST(SpeechLength, ASilentEndIsTold) {
  EXPECT_EQ(length_notes(2, {{"num_frames", 40}}),
            "the sound ends after 2.00 s, the video after 2.50 s: its last 0.50 s are silent; ");
  EXPECT_EQ(length_notes(0.5, {}), "") << "the video is as long as the sound, though its clip is not";
}

// upright.mp4: 8 frames at 10 a second.
TEST(SpeechLength, APoseVideoThatEndsBeforeIsTold) {
  const std::string pose = media_file("upright.mp4");
  EXPECT_EQ(length_notes(4, {{"pose_video_url", pose}}),
            "the pose video ends after 0.80 s, the video after 4.00 s: black pictures stand for the poses of the last "
            "3.20 s, as in the reference code; ");
  EXPECT_EQ(length_notes(0.8, {{"pose_video_url", pose}}), "");
}

}  // namespace
}  // namespace wan
