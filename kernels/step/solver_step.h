// A step of a solver as one pass over the latents: guidance, the prediction of clean data, correction, the next sample.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// The velocity of a step, as the branches of guidance give it: equal shapes and float dtypes.
struct Velocity {
  Tensor conditional;
  Tensor unconditional = {};  // undefined: the conditional one is the velocity
  double guidance = 1;
};
/// unconditional + guidance * (conditional - unconditional). Source: wan/text2video.py.
Tensor guided(const Velocity& velocity);

/// The factors of one step. Sums are taken in the order written; a factor of 0 behind the first leaves its term out.
struct StepFactors {
  /// prediction = x + velocity * guided(v)
  double velocity;
  /// corrected = [0] sample + [1] newest + [2] older + [3] prediction; without it corrected is x
  std::optional<std::array<double, 4>> corrector = {};
  /// next = [0] corrected + [1] prediction + [2] newest
  std::optional<std::array<double, 3>> predictor = {};
};

/// What steps before left: undefined where no factor asks for it.
struct StepHistory {
  Tensor sample;         // what the last step started from
  Tensor newest, older;  // the last predictions
};

struct StepSums {
  Tensor prediction;
  Tensor corrected, next;  // undefined without corrector, predictor
};

/// One step: everything is read once and written once. All tensors have x's shape; the results have x's dtype.
/// Throws c10::Error on other shapes, and where a tensor is missing that a factor asks for.
StepSums solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history, const StepFactors& factors,
                     const Context& context = default_context());

/// The same in ATen (see norm.h).
namespace reference {
StepSums solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history, const StepFactors& factors);
}  // namespace reference

}  // namespace wan::kernels
