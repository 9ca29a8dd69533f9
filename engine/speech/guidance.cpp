#include "engine/speech/guidance.h"

#include <ATen/ATen.h>

namespace wan {

void SpeechGuidance::begin_clip(const at::Tensor& reference, const at::Tensor& motion, const at::Tensor& pose,
                                const at::Tensor& features) {
  reference_ = reference;
  motion_ = motion;
  pose_ = pose;
  features_ = features;
  clip_.reset();
  sound_.reset();
  silence_.reset();
}

Velocity SpeechGuidance::operator()(const Step& step, const at::Tensor& x) {
  const SpeechModel& model = networks_.speech();
  if (std::vector<lora::Adapter> adapters = adapters_ ? adapters_(step) : std::vector<lora::Adapter>();
      adapters != applied_) {
    clip_.reset();
    sound_.reset();
    silence_.reset();
    positive_.reset();
    negative_.reset();
    applied_ = std::move(adapters);
  }
  networks_.adapt(Network::Speech, applied_);
  if (!clip_) clip_ = model.clip(reference_, motion_, pose_, x.size(1));
  if (!sound_) sound_ = model.audio(features_.to(model.device()));
  if (!positive_) positive_ = model.context(positive_states_);
  if (step.guidance <= 1) return {model(x, *clip_, step.t, {&*positive_}, {&*sound_})[0]};
  if (!silence_) silence_ = model.audio(at::zeros_like(features_).to(model.device()));
  if (!negative_) negative_ = model.context(negative_states_);
  std::vector<at::Tensor> both = model(x, *clip_, step.t, {&*positive_, &*negative_}, {&*sound_, &*silence_});
  return {both[0], both[1], step.guidance};
}

}  // namespace wan
