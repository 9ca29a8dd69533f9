// Flow-matching solvers: UniPC (order 2, bh2), DPM++ (2M midpoint), Euler, and re-noising. Each predicts x0 = x - sigma v.
// Source: wan/utils/fm_solvers_unipc.py and fm_solvers.py. Euler is ours: x += (sigma_next - sigma) v. Re-noising:
// x = (1 - sigma_next) x0 + sigma_next noise, LightX2V a7d70484, WanStepDistillScheduler.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/schedule.h"
#include "kernels/step/solver_step.h"

namespace wan {

using kernels::Velocity;

/// What step_distill adds: standard normal noise, drawn anew for each step from a seed that follows from this one and the
/// step alone, so that a run which goes on from a saved state draws what it would have drawn.
struct FreshNoise {
  uint64_t seed;
  at::Device device;  // whose generator draws (engine/sampling/noise.h)
  /// [shape of x] float32 on the device of x, for the step from sigma[i].
  at::Tensor of_step(int64_t i, const at::Tensor& x) const;
};

class Solver {
 public:
  /// `sigmas` runs from high to low, steps + 1 values in [0, 1]; the last is commonly 0. `start` is the first step to be
  /// made: later ones (video to video) begin without history, as if the run began there. Throws std::invalid_argument
  /// for rising or fewer than two sigmas, or a start beyond them, and for step_distill without `noise`, which others leave
  /// alone.
  Solver(SolverKind kind, std::vector<float> sigmas, int64_t start = 0, std::optional<FreshNoise> noise = {});

  /// The step that `step` will make next; equal to `steps()` when all are done.
  int64_t index() const { return index_; }
  int64_t steps() const { return int64_t(sigmas_.size()) - 1; }

  /// velocity and x at sigma[index()], same shape -> x at sigma[index() + 1]. With unipc this is the predicted sample;
  /// the next call corrects it. Arithmetic on the tensors in x's dtype, in one operation (kernels/step/solver_step.h).
  /// `estimate`, where it is given, becomes the clean data that the step takes x for: x - sigma velocity, x's shape, not to
  /// be written to. The result has the same bits with and without. Throws c10::Error for another shape and when all steps
  /// are done.
  at::Tensor step(const Velocity& velocity, const at::Tensor& x,
                  const kernels::Context& context = kernels::default_context(), at::Tensor* estimate = nullptr);

  /// Everything a later process needs to go on with the same bytes, under names fit for a safetensors file:
  /// "state" int64 [index, order], "sample", "x0.0" (newest), "x0.1".
  std::map<std::string, at::Tensor> save() const;
  /// Takes back what `save` gave, for the same kind and sigmas; tensors go to `device`.
  /// Throws std::invalid_argument where the state is not one that `save` can give.
  void load(const std::map<std::string, at::Tensor>& state, at::Device device);

 private:
  double alpha(int64_t i) const { return 1 - double(sigmas_[size_t(i)]); }
  double sigma(int64_t i) const { return sigmas_[size_t(i)]; }
  double lambda(int64_t i) const;
  bool falls(int64_t i) const { return sigma(i) > sigma(i + 1); }
  at::Tensor renoised(const Velocity& velocity, const at::Tensor& x, const kernels::Context& context,
                      at::Tensor* estimate) const;
  std::array<double, 3> predictor(int64_t order) const;
  std::array<double, 4> corrector() const;

  SolverKind kind_;
  std::vector<float> sigmas_;
  std::optional<FreshNoise> noise_;
  int64_t index_;
  int64_t order_ = 0;             // of the last step
  kernels::StepHistory history_;  // its corrected start, and the predictions of the last two
};

}  // namespace wan
