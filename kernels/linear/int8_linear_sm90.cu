#include "kernels/linear/int8_linear_sm90.cuh"

#include "kernels/op/tensor_map.cuh"

namespace wan::kernels {
namespace {

template <typename Plan>
cudaError_t launch_plan(const Int8LinearArguments& linear, Element element, cudaStream_t stream) {
  int device = 0, processors = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status != cudaSuccess) return status;
  return int8_linear_sm90::run_int8_linear_sm90<Plan>(linear, element, processors, DriverMaps{},
                                                      simt::StreamRunner{stream});
}

}  // namespace

cudaError_t launch_int8_linear_sm90(const Int8LinearArguments& linear, Element element, cudaStream_t stream) {
  return launch_plan<int8_linear_sm90::Together>(linear, element, stream);
}

cudaError_t launch_int8_linear_sm90_in_turns(const Int8LinearArguments& linear, Element element, cudaStream_t stream) {
  return launch_plan<int8_linear_sm90::InTurns>(linear, element, stream);
}

}  // namespace wan::kernels
