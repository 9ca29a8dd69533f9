#include "engine/sampling/guidance.h"

#include <ATen/ATen.h>

namespace wan {

Context& Guidance::context_of(const WanModel& expert, size_t branch) {
  std::optional<Context>& context = contexts_[branch];
  if (!context) context = expert.context(branch == kConditional ? conditioning_.positive : conditioning_.negative);
  return *context;
}

/// `lost`: computes again what a residual is wanted of, and counts and captures nothing of it a second time.
std::vector<at::Tensor> Guidance::forward(const Step& step, const at::Tensor& x, const StepCache::Lost* lost) {
  std::vector<lora::Adapter> adapters = options_.adapters ? options_.adapters(step) : std::vector<lora::Adapter>();
  if (high_ != step.high || applied_ != adapters) {
    // The other expert, and the same with other LoRAs, has other projections of the same text.
    for (std::optional<Context>& context : contexts_) context.reset();
    high_ = step.high;
    applied_ = std::move(adapters);
  }
  const WanModel& expert = networks_.expert(step.high);
  networks_.adapt(step.high ? Network::HighNoise : Network::LowNoise, applied_);
  if (&step == options_.last_high) networks_.prefetch_low();
  const at::Tensor latent = conditioning_.image.defined() ? at::cat({x, conditioning_.image}) : x;
  if (!rope_) rope_ = expert.rope(latent);
  const auto embed = [&] { return expert.embed(latent); };
  const auto compute = [&](const BranchList& branches, const SeeBranch* ends) {
    std::vector<Context*> contexts;
    for (size_t branch : branches) contexts.push_back(&context_of(expert, branch));
    kernels::SkipSoftmax* skip = options_.skipping ? options_.skipping->begin(step, x.device()) : nullptr;
    const bool captures = options_.capture && !lost;
    const SeeLayers* see = captures ? options_.capture->begin(step, expert.config.num_layers) : nullptr;
    std::vector<at::Tensor> found = expert(latent, *rope_, step.t, contexts, skip, see, ends);
    if (skip) lost ? options_.skipping->forget() : options_.skipping->end();
    return found;
  };
  const auto head = [&](const at::Tensor& tokens) {
    return expert.velocity(tokens, expert.begin(*rope_, step.t), latent);
  };
  return forwarded(step, x, step.guidance != 1 ? 2 : 1, {compute, embed, head}, options_, lost);
}

Velocity Guidance::operator()(const Step& step, const at::Tensor& x) {
  for (const StepCache::Lost& lost : take_lost(options_)) forward(lost.step, lost.x, &lost);
  const std::vector<at::Tensor> found = forward(step, x, nullptr);
  if (found.size() == 1) return {found[0]};
  return {found[0], found[1], step.guidance};
}

}  // namespace wan
