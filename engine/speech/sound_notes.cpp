#include "engine/speech/sound_notes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "engine/base/text.h"

namespace wan {
namespace {

constexpr const char* kField = "audio_url";
constexpr const char* kWholeAgain = "download or export it again";
constexpr double kSamplesPerSecond = 16000;
// Shares of energy, and levels where 1 is full scale.
constexpr double kCancelled = 0.01;  // of the mean: two channels with a correlation below -0.98
constexpr double kOneSided = 1e-6;   // 60 dB below the other channel
constexpr double kSilent = 1e-4;     // three steps of 16 bits: dither
constexpr double kQuiet = 1e-3;      // 60 dB below full scale
constexpr double kDistorted = 0.01;  // of the samples at full scale
constexpr double kNoticed = 0.1;     // seconds

std::string number(double value, const char* form) {
  char text[40];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

void note_damage(const Waveform& sound, Notes& notes) {
  if (sound.damaged_packets > 0)
    notes.add({kField,
               "the sound is damaged: " + std::to_string(sound.damaged_packets) +
                   (sound.damaged_packets == 1 ? " packet" : " packets") + " could not be decoded and " +
                   (sound.damaged_packets == 1 ? "is missing" : "are missing"),
               kWholeAgain});
  const double seconds = double(sound.samples) / kSamplesPerSecond;
  // An encoder's padding counts as stated: two frames of MP3, at its lowest rate 0.3 s.
  if (!sound.missing.empty())
    notes.add({kField, sound.missing, kWholeAgain});
  else if (seconds + 0.3 < sound.stated_seconds)
    notes.add({kField,
               "the sound ends early: it has " + number(seconds, "%.2f") + " s of the " +
                   number(sound.stated_seconds, "%.2f") + " s that its file states",
               kWholeAgain});
  if (sound.filled_seconds > 0)
    notes.add({kField,
               "the sound has holes: " + number(sound.filled_seconds, "%.2f") +
                   " s are silent, so that the rest stays at its time",
               kWholeAgain});
}

/// Of two channels or more that are not silent.
void note_channels(const Loudness& loudness, Notes& notes) {
  const auto& each = loudness.channels;
  double all = 0;
  for (double channel : each) all += channel;
  if (loudness.mean < kCancelled * all / double(each.size()))
    return notes.add({kField,
                      std::string("the channels of the sound cancel each other") +
                          (each.size() == 2 ? ": one is the other upside down" : "") +
                          "; the lips follow their mean, which is all but silent",
                      "ffmpeg -i SOUND -af 'pan=mono|c0=c0' ONE.wav takes one channel alone"});
  if (each.size() != 2 || std::min(each[0], each[1]) > kOneSided * std::max(each[0], each[1])) return;
  if (each[0] > each[1]) {
    notes.add({kField, "the sound is on its left channel alone, and so is the video's",
               "ffmpeg -i SOUND -af 'pan=mono|c0=c0' BOTH.wav puts it on both sides"});
  } else {
    notes.add({kField, "the sound is on its right channel alone, and so is the video's",
               "ffmpeg -i SOUND -af 'pan=mono|c0=c1' BOTH.wav puts it on both sides"});
  }
}

}  // namespace

void note_sound(const Waveform& sound, Notes& notes) {
  note_tracks(sound.tracks, {kField, "file", "sound", "heard"}, notes);
  note_damage(sound, notes);
  const Loudness& loudness = sound.loudness;
  if (loudness.samples == 0) return;
  if (loudness.peak < kSilent)
    return notes.add({kField, "the sound is silent: nothing in it moves the lips", "take a sound in which one speaks"});
  if (loudness.peak < kQuiet)
    notes.add({kField,
               "the sound is hardly to be heard: its loudest sample is " +
                   number(20 * std::log10(double(loudness.peak)), "%.0f") + " dB",
               "ffmpeg -i SOUND -af loudnorm LOUD.wav makes it louder"});
  if (double(loudness.full) > kDistorted * double(loudness.samples))
    notes.add({kField,
               "the sound is distorted: " + number(100 * double(loudness.full) / double(loudness.samples), "%.0f") +
                   " % of its samples are at full scale or beyond",
               "record or export it at a lower level"});
  if (loudness.channels.size() > 1) note_channels(loudness, notes);
}

void note_reference_length(const Waveform& sound, double shown, Notes& notes) {
  const double lost = sound.whole_seconds - shown;
  if (sound.whole_seconds > 0 && lost > kNoticed)
    notes.add({kField,
               decimals(lost) + " s of the sound are left out: the reference code ends after whole clips, here after " +
                   decimals(shown) + " s",
               "--preset hosted makes the video as long as the sound"});
}

void note_length(const Waveform& sound, double shown, double heard, Notes& notes) {
  constexpr const char* kWay = "without --num-frames the video is as long as the sound";
  const bool known = sound.whole_seconds > 0;
  const double lost = sound.whole_seconds - shown;
  if (!known || lost > kNoticed)
    notes.add({"num_frames",
               (known ? decimals(lost) + " s of the sound are" : "the end of the sound is") +
                   " left out: the video ends after " + decimals(shown) + " s" +
                   (known ? ", the sound after " + decimals(sound.whole_seconds) + " s" : ""),
               kWay});
  if (shown - heard > kNoticed)
    notes.add({"num_frames",
               "the sound ends after " + decimals(heard) + " s, the video after " + decimals(shown) + " s: its last " +
                   decimals(shown - heard) + " s are silent",
               kWay});
}

}  // namespace wan
