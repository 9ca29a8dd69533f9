// The velocity of one denoising step of a clip of speech: text, sound and the frames before it, with guidance.
#pragma once

#include "engine/request/schedule.h"
#include "engine/residency/networks.h"
#include "engine/sampling/forward_options.h"
#include "engine/sampling/solver.h"

namespace wan {

/// Runs the speech model on one clip after another. Text keys and values are kept for all of them.
class SpeechGuidance {
 public:
  /// `positive` and `negative` are states of the text encoder [n, text_dim].
  SpeechGuidance(Networks& networks, at::Tensor positive, at::Tensor negative, ForwardOptions options = {})
      : networks_(networks), states_{std::move(positive), std::move(negative)}, options_(std::move(options)) {}

  /// The next clip: reference [16, 1, h, w]; motion [16, 19, h, w] or undefined (no motion tokens); pose [16, F, h, w]
  /// or undefined; features of its frames [states, audio_dim, 4 F].
  void begin_clip(const at::Tensor& reference, const at::Tensor& motion, const at::Tensor& pose,
                  const at::Tensor& features);

  /// x [16, F, h, w] float32 -> velocity of the same shape and dtype. The unconditional branch has the negative text
  /// and silence, all else stays; there is none where the guidance is at most 1. Source: wan/speech2video.py, generate.
  Velocity operator()(const Step& step, const at::Tensor& x);

 private:
  std::vector<at::Tensor> forward(const Step& step, const at::Tensor& x, const StepCache::Lost* lost);
  void forget_clip();

  Networks& networks_;
  const at::Tensor states_[kBranches];
  const ForwardOptions options_;
  std::vector<lora::Adapter> applied_;  // with which all below was made
  at::Tensor features_;
  at::Tensor reference_, motion_, pose_;
  std::optional<SpeechClip> clip_;                 // made when the model is first needed, as are the rest
  std::optional<AudioContext> sounds_[kBranches];  // the speech, and silence
  std::optional<Context> contexts_[kBranches];
};

}  // namespace wan
