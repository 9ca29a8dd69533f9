// The velocity of one denoising step: which expert, and both guidance branches.
#pragma once

#include "engine/request/schedule.h"
#include "engine/residency/networks.h"
#include "engine/sampling/forward_options.h"
#include "engine/sampling/solver.h"

namespace wan {

/// What the transformer is told besides the latent. Made once per job.
struct Conditioning {
  at::Tensor positive, negative;  // states of the text encoder [n, text_dim]; negative undefined where nothing guides
  at::Tensor image;               // image to video: [20, T, h, w], mask and image latent; else undefined
};

/// Runs the experts on one job's conditioning. Keeps each expert's text keys and values while that expert is in use.
class Guidance {
 public:
  Guidance(Networks& networks, Conditioning conditioning, ForwardOptions options = {})
      : networks_(networks), conditioning_(std::move(conditioning)), options_(std::move(options)) {}

  /// x [16, T, h, w] float32 -> velocity of the same shape and dtype; the conditional branch alone where the guidance
  /// is exactly 1. Source: wan/text2video.py, generate.
  Velocity operator()(const Step& step, const at::Tensor& x);

 private:
  std::vector<at::Tensor> forward(const Step& step, const at::Tensor& x, const StepCache::Lost* lost);
  Context& context_of(const WanModel& expert, size_t branch);

  Networks& networks_;
  Conditioning conditioning_;
  const ForwardOptions options_;
  std::optional<bool> high_;            // whose contexts these are
  std::vector<lora::Adapter> applied_;  // with which they were made
  std::optional<Context> contexts_[kBranches];
  std::optional<kernels::Rope> rope_;  // of the job's grid, the same for both experts
};

}  // namespace wan
