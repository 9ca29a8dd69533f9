#include "kernels/attention/int8_attention_mma.cuh"

namespace wan::kernels {

cudaError_t launch_int8_attention(const Int8AttentionArguments& arguments, Element element, cudaStream_t stream) {
  return int8_attention_mma::run_int8_attention(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
