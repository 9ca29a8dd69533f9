// Audio features of video frames: the encoder run over a file of any length at constant memory.
// Source: AudioEncoder (wan/modules/s2v/audio_encoder.py); the windows of long files are ours.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/media/loudness.h"
#include "engine/media/tracks.h"
#include "engine/speech/clock.h"
#include "models/wav2vec2/model.h"

namespace wan {

using at::Tensor;

/// A mono sound at 16 kHz, read by position: [count] float32 on the CPU, window by window. Each window begins after the
/// one before it and overlaps it by up to 20 s.
struct Waveform {
  int64_t samples;
  std::function<Tensor(int64_t start, int64_t count)> read;
  SampleStatistics statistics = {};  // of the sound
  int64_t damaged_packets = 0;       // of the file, which could not be decoded
  double stated_seconds = 0;         // how long the file says it is; 0: unknown, or the sound is only a part of it
  double filled_seconds = 0;         // silence in place of holes
  Loudness loudness = {};
  std::string missing = {};  // of the end, where the container says it otherwise than by a length
  Tracks tracks = {};        // which sound of the file it is
  double whole_seconds = 0;  // how long the sound is, also where it was not read to its end; 0: unknown
};

/// Samples at 16 kHz below which the published encoders make no feature.
inline constexpr int64_t kFewestSamples = 720;
/// Throws InvalidRequest naming audio_url.
[[noreturn]] void refuse_short_sound(int64_t samples);

/// Every hidden state of the encoder at 30 frames a second. Up to 120 s the encoder sees the whole file, as in the
/// reference. Longer files are encoded in windows of 120 s whose middle 100 s are kept; mean, variance and the 30 fps
/// grid are the whole file's, so a window's result differs by the attention that does not reach beyond it, and by
/// nothing else.
class SpeechFeatures {
 public:
  /// Asked before each layer of the encoder: how many of how many states are there. May throw.
  using Asked = std::function<void(int64_t done, int64_t all)>;
  /// `encoder` must outlive this. Throws InvalidRequest naming audio_url where the sound is too short for a feature
  /// (under 45 ms).
  SpeechFeatures(const Wav2Vec2& encoder, Waveform wave, Asked asked = {});

  /// Samples of the file at 16 kHz.
  int64_t samples() const { return wave_.samples; }
  /// Features at 30 a second.
  int64_t frames() const { return frames_30_; }
  /// The features `index` (ascending, as feature_index gives them; -1 is the zero vector) -> [states, hidden, n]
  /// float32 on the CPU. Encodes a window when it is first needed and keeps the last one: ask for clips in their order.
  Tensor at(const std::vector<int64_t>& index);

 private:
  /// Encodes the window whose core holds frame `frame` (at 50 a second) into features_.
  void encode(int64_t frame);
  /// Where feature `j` lies among the encoder's frames at 50 a second.
  double position(int64_t j) const;

  const Wav2Vec2& encoder_;
  Waveform wave_;
  Asked asked_;
  int64_t frames_50_, frames_30_;
  int64_t first_ = 0;  // index of the feature features_[:, 0]
  Tensor features_;    // [states, features of one window's core, hidden]: 0.4 GB at most; undefined before the first
};

}  // namespace wan
