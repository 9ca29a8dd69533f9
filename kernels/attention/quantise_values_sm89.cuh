// Values to e4m3, turned so that the keys of a channel lie together. Memory-bound: 3 bytes an element.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/simt/dispatch.h"
#include "kernels/simt/fp8.h"

namespace wan::kernels::quantise_values {

constexpr int kThreads = 256, kTokens = kInt8KeyBlock, kWidth = kAttentionHeadDim;
constexpr int kPack = kWidth / simt::kWarp;  // channels of a lane
constexpr int kWords = kTokens / 4;          // four slots make a word
constexpr int kTileWords = kAttentionKeyBlock / 4;
constexpr int kPitch = kWords + 1;  // words from channel to channel: 32 lanes write to 8 banks, not to 1
constexpr int kWarps = kThreads / simt::kWarp, kSharedBytes = kWidth * kPitch * 4;

/// The key, of a block's 128, at slot `slot`.
WAN_HOST_DEVICE int key_of_slot(int slot) {
  return slot / 32 * 32 + fragments::column_of_slot(slot % 32);
}

/// Grid: blocks of 128 tokens, heads, batch. A warp reads four tokens whole; a thread packs them channel by channel.
template <typename T>
WAN_BOUNDED_KERNEL(kThreads, 1)
quantise_values_kernel(QuantiseValuesArguments a) {
  WAN_DYNAMIC_SHARED(shared);
  uint32_t* words = reinterpret_cast<uint32_t*>(shared);
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp, channel = lane * kPack;
  const int first = int(blockIdx.x) * kTokens;
  const int64_t head = int64_t(blockIdx.z) * a.heads + blockIdx.y;
  const T* from = static_cast<const T*>(a.v.data) + blockIdx.z * a.v.batch + blockIdx.y * a.v.head + channel;
  float inverse[kPack];
  simt::load_floats(a.inverse + head * kWidth + channel, inverse);
  WAN_UNROLL
  for (int i = 0; i < kWords / kWarps; ++i) {
    const int word = i * kWarps + warp;
    float x[4][kPack] = {};
    WAN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int token = first + key_of_slot(4 * word + j);
      if (token < a.tokens) simt::load_floats(from + token * a.v.token, x[j]);
    }
    WAN_UNROLL
    for (int c = 0; c < kPack; ++c) {
      words[(channel + c) * kPitch + word] =
          simt::pack_e4m3({x[0][c] * inverse[c], x[1][c] * inverse[c], x[2][c] * inverse[c], x[3][c] * inverse[c]});
    }
  }
  simt::sync_block();
  // Two channels of a tile are the words of a warp.
  uint32_t* to = reinterpret_cast<uint32_t*>(a.codes) + (head * gridDim.x + blockIdx.x) * kWidth * kWords;
  WAN_UNROLL
  for (int i = 0; i < kWidth / kWarps; ++i) {
    const int index = i * kThreads + threadIdx.x, row = index / kTileWords % kWidth;
    const int tile = index / (kTileWords * kWidth);
    to[index] = words[row * kPitch + tile * kTileWords + index % kTileWords];
  }
}

template <typename Run>
cudaError_t run_quantise_values(const QuantiseValuesArguments& a, Element element, Run run) {
  const dim3 grid(unsigned((a.tokens + kTokens - 1) / kTokens), unsigned(a.heads), unsigned(a.batch));
  auto* kernel = element == Element::Half ? quantise_values_kernel<__half> : quantise_values_kernel<simt::bf16>;
  return run(grid, kThreads, kSharedBytes, kernel, a);
}

}  // namespace wan::kernels::quantise_values
