#include "kernels/norm/norm_int8.cuh"

namespace wan::kernels {

cudaError_t launch_layer_norm_int8(const LayerNormInt8Arguments& arguments, Element element, cudaStream_t stream) {
  return run_layer_norm_int8(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
