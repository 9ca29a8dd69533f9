#include "engine/speech/guidance.h"

#include <ATen/ATen.h>

namespace wan {

void SpeechGuidance::forget_clip() {
  clip_.reset();
  for (std::optional<AudioContext>& sound : sounds_) sound.reset();
}

void SpeechGuidance::begin_clip(const at::Tensor& reference, const at::Tensor& motion, const at::Tensor& pose,
                                const at::Tensor& features) {
  reference_ = reference;
  motion_ = motion;
  pose_ = pose;
  features_ = features;
  forget_clip();
}

/// `lost`: computes again what a residual is wanted of, and counts nothing of it a second time.
std::vector<at::Tensor> SpeechGuidance::forward(const Step& step, const at::Tensor& x, const StepCache::Lost* lost) {
  const SpeechModel& model = networks_.speech();
  if (std::vector<lora::Adapter> adapters = options_.adapters ? options_.adapters(step) : std::vector<lora::Adapter>();
      adapters != applied_) {
    forget_clip();
    for (std::optional<Context>& context : contexts_) context.reset();
    applied_ = std::move(adapters);
  }
  networks_.adapt(Network::Speech, applied_);
  if (!clip_) clip_ = model.clip(reference_, motion_, pose_, x.size(1));
  const int64_t noisy = clip_->rope.tokens() - clip_->still.size(1);
  const auto embed = [&] { return model.embed(x, *clip_).narrow(1, 0, noisy); };
  const auto compute = [&](const BranchList& branches, const SeeBranch* ends) {
    std::vector<Context*> contexts;
    std::vector<const AudioContext*> sounds;
    for (size_t branch : branches) {
      if (!sounds_[branch])
        sounds_[branch] =
            model.audio((branch == kConditional ? features_ : at::zeros_like(features_)).to(model.device()));
      if (!contexts_[branch]) contexts_[branch] = model.context(states_[branch]);
      sounds.push_back(&*sounds_[branch]);
      contexts.push_back(&*contexts_[branch]);
    }
    kernels::SkipSoftmax* skip = options_.skipping ? options_.skipping->begin(step, x.device()) : nullptr;
    std::vector<at::Tensor> found = model(x, *clip_, step.t, contexts, sounds, skip, ends);
    if (skip) lost ? options_.skipping->forget() : options_.skipping->end();
    return found;
  };
  const auto head = [&](const at::Tensor& tokens) { return model.velocity(tokens, model.begin(*clip_, step.t), x); };
  return forwarded(step, x, step.guidance > 1 ? 2 : 1, {compute, embed, head}, options_, lost);
}

Velocity SpeechGuidance::operator()(const Step& step, const at::Tensor& x) {
  for (const StepCache::Lost& lost : take_lost(options_)) forward(lost.step, lost.x, &lost);
  const std::vector<at::Tensor> found = forward(step, x, nullptr);
  if (found.size() == 1) return {found[0]};
  return {found[0], found[1], step.guidance};
}

}  // namespace wan
