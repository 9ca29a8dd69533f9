#include "kernels/linear/quantise.cuh"

namespace wan::kernels {

cudaError_t launch_quantise_rows(const QuantiseRowsArguments& arguments, Element element, cudaStream_t stream) {
  return run_quantise_rows(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
