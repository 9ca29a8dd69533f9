// GELU with bias where the matrix library has no such epilogue.
#pragma once

#include "kernels/linear/launch.h"
#include "kernels/op/activation.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kGeluThreads = 256;

/// One block per row: the bias is found without a division.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kGeluThreads, 1)
bias_gelu_kernel(BiasGeluArguments a) {
  T* row = static_cast<T*>(a.x) + int64_t(blockIdx.x) * a.channels;
  for (int channel = threadIdx.x * Tile::kPack; channel < a.channels; channel += kGeluThreads * Tile::kPack) {
    float value[Tile::kPack], bias[Tile::kPack];
    simt::load_floats(row + channel, value);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) bias[i] = 0;
    if (a.bias) simt::load_floats(static_cast<const T*>(a.bias) + channel, bias);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) value[i] = gelu_tanh(value[i] + bias[i]);
    simt::store_floats(row + channel, value);
  }
}

template <typename Run>
cudaError_t run_bias_gelu(const BiasGeluArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel = a.channels % 4 ? bias_gelu_kernel<T, simt::Tile<1, 1>> : bias_gelu_kernel<T, simt::Tile<4, 1>>;
    return run(dim3(unsigned(a.rows)), kGeluThreads, 0, kernel, a);
  });
}

}  // namespace wan::kernels
