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
  std::vector<Context*> contexts = {&*positive_};
  std::vector<const AudioContext*> sounds = {&*sound_};
  const bool guided = step.guidance > 1;
  if (guided) {
    if (!silence_) silence_ = model.audio(at::zeros_like(features_).to(model.device()));
    if (!negative_) negative_ = model.context(negative_states_);
    contexts.push_back(&*negative_);
    sounds.push_back(&*silence_);
  }
  kernels::SkipSoftmax* skip = skipping_ ? skipping_->begin(step, x.device()) : nullptr;
  const std::vector<at::Tensor> found = model(x, *clip_, step.t, contexts, sounds, skip);
  if (skip) skipping_->end();
  if (!guided) return {found[0]};
  return {found[0], found[1], step.guidance};
}

}  // namespace wan
