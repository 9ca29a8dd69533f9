#include "kernels/pointwise.cuh"

namespace wan::kernels {

cudaError_t launch_bias_gelu(const BiasGeluArguments& arguments, Element element, cudaStream_t stream) {
  return run_bias_gelu(arguments, element, simt::StreamRunner{stream});
}

cudaError_t launch_combine(const CombineArguments& arguments, cudaStream_t stream) {
  return run_combine(arguments, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
