#include "kernels/linear/gelu.cuh"

namespace wan::kernels {

cudaError_t launch_bias_gelu(const BiasGeluArguments& arguments, Element element, cudaStream_t stream) {
  return run_bias_gelu(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
