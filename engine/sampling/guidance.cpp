#include "engine/sampling/guidance.h"

#include <ATen/ATen.h>

namespace wan {

void Guidance::prepare(const WanModel& expert, bool guided) {
  if (!positive_) positive_ = expert.context(conditioning_.positive);
  if (guided && !negative_) negative_ = expert.context(conditioning_.negative);
}

Velocity Guidance::operator()(const Step& step, const at::Tensor& x) {
  std::vector<lora::Adapter> adapters = adapters_ ? adapters_(step) : std::vector<lora::Adapter>();
  if (high_ != step.high || applied_ != adapters) {
    // The other expert, and the same with other LoRAs, has other projections of the same text.
    positive_.reset();
    negative_.reset();
    high_ = step.high;
    applied_ = std::move(adapters);
  }
  const WanModel& expert = networks_.expert(step.high);
  networks_.adapt(step.high ? Network::HighNoise : Network::LowNoise, applied_);
  if (&step == last_high_) networks_.prefetch_low();
  bool guided = step.guidance != 1;
  prepare(expert, guided);
  at::Tensor latent = conditioning_.image.defined() ? at::cat({x, conditioning_.image}) : x;
  if (!rope_) rope_ = expert.rope(latent);
  std::vector<Context*> contexts = {&*positive_};
  if (guided) contexts.push_back(&*negative_);
  kernels::SkipSoftmax* skip = skipping_ ? skipping_->begin(step, x.device()) : nullptr;
  const SeeLayers* see = capture_ ? capture_->begin(step, expert.config.num_layers) : nullptr;
  const std::vector<at::Tensor> found = expert(latent, *rope_, step.t, contexts, skip, see);
  if (skip) skipping_->end();
  if (!guided) return {found[0]};
  return {found[0], found[1], step.guidance};
}

}  // namespace wan
