// A sound file as the speech features want it: by position, forward, at constant memory.
#pragma once

#include <functional>
#include <optional>

#include "engine/media/media_file.h"
#include "engine/speech/features.h"

namespace wan {

/// Samples a second of the audio encoder.
constexpr int64_t kSpeechRate = 16000;

/// Asked about every minute of sound that is read: seconds read, and in all by the file's word (0: it does not say). May
/// throw.
using SoundRead = std::function<void(double seconds, double all)>;

/// The file's sound as mono at 16 kHz. The file is decoded once for its length, mean, variance and loudness; ten minutes
/// are kept in memory, of a longer one what a window needs, and it is decoded once more for every walk from the start.
///
/// Of a file that is longer than what the encoder sees at once, only what is `needed` (seconds from the start) is read,
/// with the 10 s of context that a window has: what comes later is as if it were not in the file. Mean, variance and
/// loudness are then those of that part, or of the first two minutes where they are more. Errors are AudioReader's,
/// which name the file's field, and InvalidRequest where the sound holds NaN or Inf.
Waveform open_waveform(const MediaFile& file, std::optional<double> needed = {}, const SoundRead& asked = {});

}  // namespace wan
