#include "kernels/attention/attention_mma.cuh"

namespace wan::kernels {

cudaError_t launch_attention(const AttentionArguments& arguments, Element element, cudaStream_t stream) {
  return attention_mma::run_attention(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
