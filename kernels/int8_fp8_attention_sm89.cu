#include "kernels/int8_fp8_attention_sm89.cuh"

namespace wan::kernels {

cudaError_t launch_int8_fp8_attention(const Int8AttentionArguments& arguments, Element element, cudaStream_t stream) {
  return int8_fp8_attention::run_int8_fp8_attention(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
