#include "engine/speech/features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "engine/base/error.h"

namespace wan {

void refuse_short_sound(int64_t samples) {
  throw InvalidRequest("audio_url",
                       "must last at least 45 ms, lasts " + std::to_string(samples / 16) + " ms; give a longer sound");
}

SpeechFeatures::SpeechFeatures(const Wav2Vec2& encoder, Waveform wave, Asked asked)
    : encoder_(encoder),
      wave_(std::move(wave)),
      asked_(std::move(asked)),
      frames_50_(encoder.config().frames(wave_.samples)),
      frames_30_(feature_frames_30(frames_50_)) {
  if (frames_30_ < 1) refuse_short_sound(wave_.samples);
}

double SpeechFeatures::position(int64_t j) const {
  // Linear interpolation with align_corners: the ends of both grids coincide.
  return frames_30_ > 1 ? double(j) * double(frames_50_ - 1) / double(frames_30_ - 1) : 0;
}

void SpeechFeatures::encode(int64_t frame) {
  const AudioWindow window = audio_window(frames_50_, frame);
  std::vector<int64_t> lower, upper;
  std::vector<float> weights;
  first_ = -1;
  for (int64_t j = 0; j < frames_30_; ++j) {
    const auto below = int64_t(position(j));
    if (below < window.core_first || below >= window.core_last) continue;
    if (first_ < 0) first_ = j;
    lower.push_back(below - window.first);
    upper.push_back(std::min(below + 1, frames_50_ - 1) - window.first);
    weights.push_back(float(position(j) - double(below)));
  }
  const Tensor from = at::tensor(lower), to = at::tensor(upper), weight = at::tensor(weights).unsqueeze(1);
  const Tensor samples =
      wave_.read(window.first * encoder_.config().hop(), encoder_.config().samples(window.last - window.first));
  const auto ask = [&](int64_t done) {
    if (asked_) asked_(done, encoder_.states());
  };
  ask(0);
  features_.reset();  // before the next window's are made: one window's features at a time
  Tensor features = at::empty({encoder_.states(), int64_t(lower.size()), encoder_.config().hidden_size}, at::kFloat);
  encoder_.hidden_states(wave_.statistics.normalise(samples), [&](int64_t index, const Tensor& state) {
    const Tensor frames = state.cpu();
    features.select(0, index).copy_(at::lerp(frames.index_select(0, from), frames.index_select(0, to), weight));
    ask(index + 1);
  });
  features_ = features;
}

Tensor SpeechFeatures::at(const std::vector<int64_t>& index) {
  const auto frames = int64_t(index.size());
  Tensor result = at::zeros({encoder_.states(), encoder_.config().hidden_size, frames}, at::kFloat);
  for (int64_t i = 0; i < frames; ++i) {
    if (index[i] < 0) continue;
    TORCH_CHECK(index[i] < frames_30_, "[SpeechFeatures] index must be below ", frames_30_, ", got ", index[i]);
    const bool held = features_.defined() && index[i] >= first_ && index[i] < first_ + features_.size(1);
    if (!held) encode(int64_t(position(index[i])));
    result.select(2, i).copy_(features_.select(1, index[i] - first_));
  }
  return result;
}

}  // namespace wan
