#include "kernels/norm/channel_norm.cuh"

namespace wan::kernels {

cudaError_t launch_channel_norm(const ChannelNormArguments& arguments, Element in, Element out, cudaStream_t stream) {
  return run_channel_norm(arguments, in, out, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
