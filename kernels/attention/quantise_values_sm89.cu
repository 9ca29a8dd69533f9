#include "kernels/attention/quantise_values_sm89.cuh"

namespace wan::kernels {

cudaError_t launch_quantise_values(const QuantiseValuesArguments& arguments, Element element, cudaStream_t stream) {
  return quantise_values::run_quantise_values(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
