// Queries and keys to 8 bits, head by head. Memory-bound: 3 bytes an element.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/linear/int8_codes.h"
#include "kernels/linear/quantise.cuh"

namespace wan::kernels::quantise_heads {

constexpr int kThreads = 256, kWarps = kThreads / simt::kWarp;
constexpr int kTokens = kInt8KeyBlock, kWarpTokens = kTokens / kWarps, kWidth = kAttentionHeadDim;
constexpr int kPack = kWidth / simt::kWarp;  // channels of a lane; a warp has one token at a time

/// Writes one token's codes and returns the scale that they have.
WAN_DEVICE float write_codes(const float (&x)[kPack], float largest, float factor, int8_t* to) {
  const float scale = largest * (factor / int8_codes::kLargest);
  const bool zero = !(scale >= kSmallestHeadScale);
  simt::Pack<int8_t, kPack> codes;
  WAN_UNROLL
  for (int i = 0; i < kPack; ++i) codes.at[i] = zero ? int8_t(0) : code_of(x[i], int8_codes::kLargest / largest);
  *reinterpret_cast<simt::Pack<int8_t, kPack>*>(to) = codes;
  return scale < kSmallestHeadScale ? kSmallestHeadScale : scale;
}

/// Grid: blocks of 128 tokens, heads, batch. A thread holds 4 channels of 16 tokens, so that x is read once.
template <typename T, bool kKeys>
WAN_BOUNDED_KERNEL(kThreads, 1)
quantise_heads_kernel(QuantiseHeadsArguments a) {
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp, channel = lane * kPack;
  const int first = int(blockIdx.x) * kTokens + warp * kWarpTokens;
  const int64_t head = int64_t(blockIdx.z) * a.heads + blockIdx.y;
  const T* from = static_cast<const T*>(a.x.data) + blockIdx.z * a.x.batch + blockIdx.y * a.x.head + channel;
  float centre[kPack] = {}, x[kWarpTokens][kPack];
  if constexpr (kKeys) simt::load_floats(a.centre + head * kWidth + channel, centre);
  uint32_t largest[kWarpTokens], all = 0;
  WAN_UNROLL
  for (int i = 0; i < kWarpTokens; ++i) {
    largest[i] = 0;
    WAN_UNROLL
    for (int j = 0; j < kPack; ++j) x[i][j] = centre[j];
    if (first + i < a.tokens) simt::load_floats(from + (first + i) * a.x.token, x[i]);
    WAN_UNROLL
    for (int j = 0; j < kPack; ++j) {
      x[i][j] -= centre[j];
      const uint32_t bits = simt::float_bits(fabsf(x[i][j]));
      largest[i] = bits > largest[i] ? bits : largest[i];
    }
    all = largest[i] > all ? largest[i] : all;
  }
  const float block = kKeys ? block_largest(simt::float_of_bits(all)) : 0.0f;
  WAN_UNROLL
  for (int i = 0; i < kWarpTokens; ++i) {
    const float shared = kKeys ? block : simt::float_of_bits(simt::warp_largest(largest[i]));
    if (first + i >= a.tokens) continue;
    const float scale = write_codes(x[i], shared, a.factor, a.codes + (head * a.tokens + first + i) * kWidth + channel);
    if constexpr (kKeys) {
      if (i == 0 && threadIdx.x == 0) a.scale[head * gridDim.x + blockIdx.x] = scale;
    } else {
      if (lane == 0) a.scale[head * a.tokens + first + i] = scale;
    }
  }
}

template <typename Run>
cudaError_t run_quantise_heads(const QuantiseHeadsArguments& a, Element element, Run run) {
  const dim3 grid(unsigned((a.tokens + kTokens - 1) / kTokens), unsigned(a.heads), unsigned(a.batch));
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel = a.centre ? quantise_heads_kernel<T, true> : quantise_heads_kernel<T, false>;
    return run(grid, kThreads, 0, kernel, a);
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::quantise_heads
