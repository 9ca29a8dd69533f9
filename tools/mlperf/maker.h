// What makes the benchmark's videos: the networks of a model, or networks with drawn weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "engine/request/schedule.h"
#include "kernels/step/solver_step.h"

namespace wan::mlperf {

using at::Tensor;

/// Gets uint8 [t, H, W, 3] RGB on the CPU, the next frames.
using TakeFrames = std::function<void(const Tensor& rgb)>;

/// Operations of one video's stages; 0: not counted.
struct Work {
  double forward = 0;  // of one branch of guidance in one step
  double decode = 0;   // of all frames
};

/// Computes what a stage asks for; when it returns, a GPU may still be busy with it.
class VideoMaker {
 public:
  virtual ~VideoMaker() = default;

  /// Where the sampling computes; a GPU has its index.
  virtual at::Device device() const = 0;
  /// What the weights are, for the report: "drawn", or names of files.
  virtual std::string weights() const = 0;
  /// "exact" and so on.
  virtual std::string precision() const = 0;
  virtual Work work() const = 0;

  /// A prompt's states [n, text_dim]; computed anew at each call.
  virtual Tensor text(const std::string& prompt) = 0;
  /// The velocities that follow are of a video with these texts; `negative` is undefined where no step guides.
  virtual void begin(const Tensor& positive, const Tensor& negative, const Schedule& schedule) = 0;
  /// x [16, T, h, w] float32 -> the velocity at a step; the conditional branch alone where its guidance is exactly 1.
  virtual kernels::Velocity velocity(const Step& step, const Tensor& x) = 0;
  /// Latents [16, T, h, w] -> their frames in order, `frames` of them.
  virtual void decode(const Tensor& latents, int64_t frames, const TakeFrames& take) = 0;
};

}  // namespace wan::mlperf
