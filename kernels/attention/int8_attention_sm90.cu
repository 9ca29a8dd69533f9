#include "kernels/attention/int8_attention_sm90.cuh"

#include "kernels/op/tensor_map.cuh"

namespace wan::kernels {

cudaError_t launch_int8_attention_sm90(const Int8AttentionArguments& arguments, Element element, cudaStream_t stream) {
  return int8_attention_sm90::run_int8_attention_sm90(arguments, element, DriverMaps{}, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
