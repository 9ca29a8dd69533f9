#include "engine/sampling/guidance.h"

#include <ATen/ATen.h>

namespace wan {

void Guidance::prepare(const WanModel& expert, bool guided) {
  if (!positive_) positive_ = expert.context(conditioning_.positive);
  if (guided && !negative_) negative_ = expert.context(conditioning_.negative);
}

Velocity Guidance::operator()(const Step& step, const at::Tensor& x) {
  if (high_ != step.high) {
    // The other expert has other projections of the same text.
    positive_.reset();
    negative_.reset();
    high_ = step.high;
  }
  const WanModel& expert = networks_.expert(step.high);
  if (&step == last_high_) networks_.prefetch_low();
  bool guided = step.guidance != 1;
  prepare(expert, guided);
  at::Tensor latent = conditioning_.image.defined() ? at::cat({x, conditioning_.image}) : x;
  if (!rope_) rope_ = expert.rope(latent);
  if (!guided) return {expert(latent, *rope_, step.t, {&*positive_})[0]};
  std::vector<at::Tensor> both = expert(latent, *rope_, step.t, {&*positive_, &*negative_});
  return {both[0], both[1], step.guidance};
}

}  // namespace wan
