// As launch.h, for the kernels with 8-bit operands.
#pragma once

#include "kernels/attention/float8.h"
#include "kernels/op/launch.h"

namespace wan::kernels {

/// Rows rotated (hadamard.h) and quantised with one scale each.
struct QuantiseRowsArguments {
  const void* x;  // [rows, channels] of `element`
  int8_t* codes;  // [rows, channels]
  float* scale;   // [rows]
  int64_t rows;   // at most 2^31 - 1
  int channels;   // a multiple of 128, at most kMaxRowChannels
};
cudaError_t launch_quantise_rows(const QuantiseRowsArguments& arguments, Element element, cudaStream_t stream);

/// As launch_layer_norm, and its rows quantised as by launch_quantise_rows, without a rounding in between.
struct LayerNormInt8Arguments {
  LayerNormArguments norm;  // `channels` a multiple of 128; `out` is not used
  int8_t* codes;            // [rows, channels]
  float* scale;             // [rows]
};
/// `element` is y's; without a residual it plays no part.
cudaError_t launch_layer_norm_int8(const LayerNormInt8Arguments& arguments, Element element, cudaStream_t stream);

/// y = (x w^T) * x_scale * weight_scale + bias from 8-bit operands; then out = gelu_tanh(y) or y, or, where `residual`
/// is given, residual += gate * y in float32.
struct Int8LinearArguments {
  const int8_t* x;            // [rows, depth]
  const float* x_scale;       // [rows]
  const int8_t* weight;       // [channels, depth]
  const float* weight_scale;  // [channels]
  const float* bias;          // [channels], or null
  void* out;                  // [rows, channels] of `element`; not used with a residual
  float* residual;            // [rows, channels], or null
  const float* gate;          // [segments, channels], or null: 1
  int rows, channels, depth;  // channels even, depth a multiple of 128
  int tokens;                 // rows of one batch element: `segments` begin anew behind them
  SegmentEnds segments;
  bool gelu;
};
/// `element` is BFloat16 or Half. mma.sync, sm_80 and newer.
cudaError_t launch_int8_linear(const Int8LinearArguments& arguments, Element element, cudaStream_t stream);
/// The same with wgmma, compiled for sm_90a alone.
cudaError_t launch_int8_linear_sm90(const Int8LinearArguments& arguments, Element element, cudaStream_t stream);

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
