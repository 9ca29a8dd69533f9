#include "kernels/step/solver_step.cuh"

namespace wan::kernels {

cudaError_t launch_solver_step(const SolverStepArguments& arguments, cudaStream_t stream) {
  return run_solver_step(arguments, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
