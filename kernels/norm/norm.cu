#include "kernels/norm/norm.cuh"

namespace wan::kernels {

cudaError_t launch_layer_norm(const LayerNormArguments& arguments, Element element, cudaStream_t stream) {
  return run_layer_norm(arguments, element, simt::StreamRunner{stream});
}

cudaError_t launch_gated_residual(const LayerNormArguments& arguments, Element element, cudaStream_t stream) {
  return run_gated_residual(arguments, element, simt::StreamRunner{stream});
}

cudaError_t launch_rms_norm(const RmsNormArguments& arguments, Element element, cudaStream_t stream) {
  return run_rms_norm(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
