// How the attentions with wgmma cut heads into blocks of queries and tiles of keys, and how the copy engine sees heads.
#pragma once

#include "kernels/attention/attention_loop.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::attention_sm90 {

namespace sm90 = simt::sm90;
using attention_mma::kWidth;
using attention_mma::kWidthTiles;

constexpr int kConsumers = 2;  // warpgroups of 64 queries each
constexpr int kQueries = 64 * kConsumers, kKeys = 128, kKeyTiles = kKeys / 8;

/// Rows of 128 tokens as boxes of 64 channels of 16 bits, one behind the other.
constexpr int kHalfChannels = kWidth / 2, kBoxBytes = kKeys * kHalfChannels * 2;
static_assert(kQueries == kKeys, "queries lie as keys do");

/// Of the copy engine: queries, keys and values.
struct Maps {
  sm90::TensorMap q, k, v;
};
template <typename Sizes>
struct Arguments {
  Maps maps;
  Sizes sizes;
};

/// Which head of which batch element a block has, and where its queries begin.
struct Head {
  int head, batch, of_batch, first_query;

  WAN_DEVICE explicit Head(int heads)
      : head(int(blockIdx.y)),
        batch(int(blockIdx.z)),
        of_batch(int(blockIdx.z) * heads + int(blockIdx.y)),
        first_query(int(blockIdx.x) * kQueries) {}
};

/// 128 tokens of 16-bit heads from `first` on, zeros past the end.
WAN_DEVICE void copy_heads(unsigned char* to, const sm90::TensorMap& map, const Head& head, int first, uint64_t* full) {
  WAN_UNROLL
  for (int half = 0; half < 2; ++half)
    sm90::copy_box(to + half * kBoxBytes, &map, {half * kHalfChannels, head.head, first, head.batch}, full);
}

/// 16-bit heads [batch, tokens, heads, 128] in boxes of 128 tokens and 64 channels. The stride of a dimension of one
/// element, which may be anything, becomes the size of what it would step over.
inline sm90::TensorView view_of(const AttentionArguments::Strided& x, int batch, int heads, int tokens) {
  sm90::TensorView view = {x.data,
                           4,
                           2,
                           {kWidth, heads, tokens, batch},
                           {2, 2 * x.head, 2 * x.token, 2 * x.batch},
                           {kHalfChannels, 1, kKeys, 1},
                           sm90::Swizzle::Bytes128};
  for (int i = 1; i < view.rank; ++i)
    if (view.size[i] == 1) view.stride[i] = view.stride[i - 1] * view.size[i - 1];
  return view;
}

}  // namespace wan::kernels::attention_sm90
