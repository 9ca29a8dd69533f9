// Arguments and launcher of a step of a solver (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/op/launch.h"

namespace wan::kernels {

/// One step of a solver; sums in the order written, over contiguous arrays of `size` elements:
///   v          = unconditional + guidance * (conditional - unconditional), or conditional where unconditional is null
///   prediction = x + velocity * v
///   corrected  = corrector[0] * sample + [1] * newest + [2] * older + [3] * prediction, or x where corrected is null
///   next       = predictor[0] * corrected + [1] * prediction + [2] * newest, unless next is null
struct SolverStepArguments {
  const float *conditional, *unconditional, *x;
  const float *sample, *newest, *older;  // null: zero
  float guidance, velocity, corrector[4], predictor[3];
  float *prediction, *corrected, *next;
  int64_t size;
};
cudaError_t launch_solver_step(const SolverStepArguments& arguments, cudaStream_t stream);

}  // namespace wan::kernels
