#include "kernels/attention/int8_fp8_attention_sm89.cuh"

namespace wan::kernels {

cudaError_t launch_int8_fp8_attention(const Int8AttentionArguments& arguments, Element element, Sums sums,
                                      cudaStream_t stream) {
  return int8_fp8_attention::run_int8_fp8_attention(arguments, element, sums, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
