// Element by element: GELU with bias where the matrix library has no such epilogue; guidance and solver updates.
#pragma once

#include "kernels/activation.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kPointThreads = 256;

/// One block per row: the bias is found without a division.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kPointThreads, 1)
bias_gelu_kernel(BiasGeluArguments a) {
  T* row = static_cast<T*>(a.x) + int64_t(blockIdx.x) * a.channels;
  for (int channel = threadIdx.x * Tile::kPack; channel < a.channels; channel += kPointThreads * Tile::kPack) {
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

/// One thread per element. Products and sums are rounded one by one, as the operations of the reference are: a fused
/// multiply-add here would make a step depend on the path that computed it.
WAN_BOUNDED_KERNEL(kPointThreads, 1) combine_kernel(CombineArguments a) {
  const int64_t i = int64_t(blockIdx.x) * kPointThreads + threadIdx.x;
  if (i >= a.size) return;
  if (a.guidance) {
    const float base = a.x[0][i];
    a.out[i] = simt::add(base, simt::multiply(a.factor[1], simt::add(a.x[1][i], -base)));
    return;
  }
  float sum = simt::multiply(a.factor[0], a.x[0][i]);
  WAN_UNROLL
  for (int term = 1; term < kMaxTerms; ++term) {
    if (term < a.terms) sum = simt::add(sum, simt::multiply(a.factor[term], a.x[term][i]));
  }
  a.out[i] = sum;
}

template <typename Run>
cudaError_t run_bias_gelu(const BiasGeluArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel = a.channels % 4 ? bias_gelu_kernel<T, simt::Tile<1, 1>> : bias_gelu_kernel<T, simt::Tile<4, 1>>;
    return run(dim3(unsigned(a.rows)), kPointThreads, 0, kernel, a);
  });
}

template <typename Run>
cudaError_t run_combine(const CombineArguments& a, Run run) {
  return run(dim3(unsigned((a.size + kPointThreads - 1) / kPointThreads)), kPointThreads, 0, combine_kernel, a);
}

}  // namespace wan::kernels
