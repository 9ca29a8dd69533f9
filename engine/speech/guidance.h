// The velocity of one denoising step of a clip of speech: text, sound and the frames before it, with guidance.
#pragma once

#include "engine/request/schedule.h"
#include "engine/residency/loras.h"
#include "engine/residency/networks.h"
#include "engine/sampling/skipping.h"
#include "engine/sampling/solver.h"

namespace wan {

/// Runs the speech model on one clip after another. Text keys and values are kept for all of them.
class SpeechGuidance {
 public:
  /// `positive` and `negative` are states of the text encoder [n, text_dim].
  /// `adapters`: which LoRAs a step has. `skipping`: of its attention; null: none.
  SpeechGuidance(Networks& networks, at::Tensor positive, at::Tensor negative, StepAdapters adapters = {},
                 Skipping* skipping = nullptr)
      : networks_(networks),
        positive_states_(std::move(positive)),
        negative_states_(std::move(negative)),
        adapters_(std::move(adapters)),
        skipping_(skipping) {}

  /// The next clip: reference [16, 1, h, w]; motion [16, 19, h, w] or undefined (no motion tokens); pose [16, F, h, w]
  /// or undefined; features of its frames [states, audio_dim, 4 F].
  void begin_clip(const at::Tensor& reference, const at::Tensor& motion, const at::Tensor& pose,
                  const at::Tensor& features);

  /// x [16, F, h, w] float32 -> velocity of the same shape and dtype. The unconditional branch has the negative text
  /// and silence, all else stays; there is none where the guidance is at most 1. Source: wan/speech2video.py, generate.
  Velocity operator()(const Step& step, const at::Tensor& x);

 private:
  Networks& networks_;
  at::Tensor positive_states_, negative_states_;
  const StepAdapters adapters_;
  Skipping* const skipping_;
  std::vector<lora::Adapter> applied_;  // with which all below was made
  at::Tensor features_;
  at::Tensor reference_, motion_, pose_;
  std::optional<SpeechClip> clip_;  // made when the model is first needed, as are the rest
  std::optional<AudioContext> sound_, silence_;
  std::optional<Context> positive_, negative_;
};

}  // namespace wan
