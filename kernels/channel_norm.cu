#include "kernels/channel_norm.cuh"

namespace wan::kernels {

cudaError_t launch_channel_norm(const ChannelNormArguments& arguments, Element element, cudaStream_t stream) {
  return run_channel_norm(arguments, element, simt::StreamRunner{stream});
}

}  // namespace wan::kernels
