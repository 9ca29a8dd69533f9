#include "kernels/rope/rope.cuh"

namespace wan::kernels {

cudaError_t launch_norm_rope(const RopeArguments& arguments, Element element, cudaStream_t stream) {
  return run_norm_rope(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
