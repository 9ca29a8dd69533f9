// Arguments and launchers of attention, in 16 and in 8 bits (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/attention/float8.h"
#include "kernels/op/launch.h"

namespace wan::kernels {

/// Skip-Softmax: a group of queries leaves out a tile of keys of which in every row the largest logit lies below the
/// largest of the tiles before it by more than -`below`, in units of log2. Where `skipped` is null nothing is left out,
/// by kernels without the rule; else the tiles left out are added to it.
struct SkipArguments {
  float below;                  // log2 of lambda
  unsigned long long* skipped;  // device memory, or null
};
/// Queries that decide together and keys of a tile, with mma.sync (a warp) and with wgmma (a warpgroup).
constexpr int kSkipQueriesMma = 16, kSkipKeysMma = 64, kSkipQueriesWgmma = 64, kSkipKeysWgmma = 128;

/// softmax(q k^T * scale + bias) v with head dimension 128, 16-bit elements. Strides in elements, each a multiple of 8;
/// the channels of a head lie together and 16-byte aligned.
struct AttentionArguments {
  struct Strided {
    const void* data;
    int64_t batch, token, head;
  };
  Strided q, k, v;
  const float* bias;  // [keys], a logit for each key, or null
  void* out;          // [batch, queries, heads, 128] contiguous
  int batch, heads, queries, keys;
  float scale;         // positive
  SkipArguments skip;  // without bias
};
/// Rows of queries in a thread block, keys in a step of it.
constexpr int kAttentionQueryBlock = 128, kAttentionKeyBlock = 64, kAttentionHeadDim = 128;
/// `element` is Half or BFloat16. Needs sm_80 or newer.
cudaError_t launch_attention(const AttentionArguments& arguments, Element element, cudaStream_t stream);
/// The same with wgmma, compiled for sm_90a alone: no bias; strides as simt::sm90::TensorView wants them for
/// [batch, tokens, heads, 128].
cudaError_t launch_attention_sm90(const AttentionArguments& arguments, Element element, cudaStream_t stream);

/// Keys that share a scale.
constexpr int kInt8KeyBlock = 128;
/// Smallest scale of a head's codes: the product of two stays a normal number.
constexpr float kSmallestHeadScale = 1e-18f;
/// Heads of 128 channels to codes. Queries (`centre` null): one scale a token. Keys: less `centre`, one scale for
/// kInt8KeyBlock tokens. Strides as in AttentionArguments.
struct QuantiseHeadsArguments {
  AttentionArguments::Strided x;
  const float* centre;  // [batch, heads, 128], or null
  int8_t* codes;        // [batch, heads, tokens, 128]
  float* scale;         // [batch, heads, tokens], or [batch, heads, blocks of keys]
  int batch, heads, tokens;
  float factor;  // the scales are multiplied by it
};
/// `element` is BFloat16 or Half.
cudaError_t launch_quantise_heads(const QuantiseHeadsArguments& arguments, Element element, cudaStream_t stream);

/// Values to e4m3 in tiles of kAttentionKeyBlock keys, channels first: what m16n8k32 wants as its right operand. Keys
/// of each 32 stand in the order of fragments::column_of_slot; keys up to a multiple of kInt8KeyBlock are zeros.
struct QuantiseValuesArguments {
  AttentionArguments::Strided v;
  const float* inverse;  // [batch, heads, 128]: what a channel is multiplied with, for the range of its product's sums
  uint8_t* codes;        // [batch, heads, tiles, 128, kAttentionKeyBlock]
  int batch, heads, tokens;
};
/// `element` is BFloat16 or Half. sm_89 and newer.
cudaError_t launch_quantise_values(const QuantiseValuesArguments& arguments, Element element, cudaStream_t stream);

/// softmax2(codes products * q_scale * k_scale) v: 8-bit queries and keys; logits in units of log2.
struct Int8AttentionArguments {
  const int8_t *q, *k;             // [batch, heads, queries or keys, 128]
  const float *q_scale, *k_scale;  // as launch_quantise_heads leaves them; at least kSmallestHeadScale
  AttentionArguments::Strided v;   // of launch_int8_attention
  const uint8_t* v_codes;          // of launch_int8_fp8_attention: as launch_quantise_values leaves them
  const float* v_scale;            // [batch, heads, 128]
  void* out;                       // [batch, queries, heads, 128] contiguous
  int batch, heads, queries, keys;
  SkipArguments skip;
};
/// With the values as they are. `element` is that of v and out, BFloat16 or Half. mma.sync, sm_80 and newer.
cudaError_t launch_int8_attention(const Int8AttentionArguments& arguments, Element element, cudaStream_t stream);
/// Either with wgmma, compiled for sm_90a alone: with e4m3 where `v_codes` is given.
cudaError_t launch_int8_attention_sm90(const Int8AttentionArguments& arguments, Element element, cudaStream_t stream);
/// With weights and values in e4m3, the values' codes in the range of these sums. `element` is that of out. mma.sync,
/// sm_89 and newer.
cudaError_t launch_int8_fp8_attention(const Int8AttentionArguments& arguments, Element element, Sums sums,
                                      cudaStream_t stream);

}  // namespace wan::kernels
