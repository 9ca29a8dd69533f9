#include "kernels/attention/attention_sm90.cuh"

#include "kernels/op/tensor_map.cuh"

namespace wan::kernels {

cudaError_t launch_attention_sm90(const AttentionArguments& arguments, Element element, cudaStream_t stream) {
  return attention_sm90::run_attention_sm90(arguments, element, DriverMaps{}, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
