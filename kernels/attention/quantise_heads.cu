#include "kernels/attention/quantise_heads.cuh"

namespace wan::kernels {

cudaError_t launch_quantise_heads(const QuantiseHeadsArguments& arguments, Element element, cudaStream_t stream) {
  return quantise_heads::run_quantise_heads(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
