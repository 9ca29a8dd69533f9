// The fused step of a solver, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include <optional>

#include "kernels/step/solver_step.h"

namespace wan::kernels::cuda {

std::optional<StepSums> solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history,
                                    const StepFactors& factors, const Context& context = default_context());

}  // namespace wan::kernels::cuda
