#include "kernels/dequantise/dequantise.cuh"

namespace wan::kernels {

cudaError_t launch_widen(const WidenArguments& arguments, Code code, cudaStream_t stream) {
  return run_widen(arguments, code, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
