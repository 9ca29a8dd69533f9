#include "kernels/linear/int8_linear_mma.cuh"

namespace wan::kernels {

cudaError_t launch_int8_linear(const Int8LinearArguments& arguments, Element element, cudaStream_t stream) {
  return int8_linear_mma::run_int8_linear(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
