// The velocity of one denoising step: which expert, and both guidance branches.
#pragma once

#include "engine/request/schedule.h"
#include "engine/residency/loras.h"
#include "engine/residency/networks.h"
#include "engine/sampling/captured_heads.h"
#include "engine/sampling/skipping.h"
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
  /// `last_high`: of the schedule, the step behind which no other needs the high-noise expert, so that the low-noise one
  /// is brought in while it runs; null where others may need it.
  /// `adapters`: which LoRAs a step has. `skipping`: of its attention; null: none. `capture`: keeps heads of it; null: none.
  Guidance(Networks& networks, Conditioning conditioning, const Step* last_high = nullptr, StepAdapters adapters = {},
           Skipping* skipping = nullptr, HeadsCapture* capture = nullptr)
      : networks_(networks),
        conditioning_(std::move(conditioning)),
        last_high_(last_high),
        adapters_(std::move(adapters)),
        skipping_(skipping),
        capture_(capture) {}

  /// x [16, T, h, w] float32 -> velocity of the same shape and dtype; the conditional branch alone where the guidance
  /// is exactly 1. Source: wan/text2video.py, generate.
  Velocity operator()(const Step& step, const at::Tensor& x);

 private:
  void prepare(const WanModel& expert, bool guided);

  Networks& networks_;
  Conditioning conditioning_;
  const Step* last_high_;
  const StepAdapters adapters_;
  Skipping* const skipping_;
  HeadsCapture* const capture_;
  std::optional<bool> high_;            // whose contexts these are
  std::vector<lora::Adapter> applied_;  // with which they were made
  std::optional<Context> positive_, negative_;
  std::optional<kernels::Rope> rope_;  // of the job's grid, the same for both experts
};

}  // namespace wan
