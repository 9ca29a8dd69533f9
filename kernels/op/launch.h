// What the bindings (cuda_*.cpp, ATen) and the launchers (*.cu, no torch header) agree on: plain pointers and sizes.
// Each launcher puts one kernel on `stream` and returns the launch's status; it allocates and synchronises nothing.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wan::kernels {

/// The element types a kernel reads and writes; it computes in float32.
enum class Element { Float, BFloat16, Half };

/// Widest row a row kernel holds in its registers.
constexpr int kMaxRowChannels = 16384;
/// Most segments with modulation rows of their own.
constexpr int kMaxSegments = 4;

/// Whether this build holds machine code for the current CUDA device: false below sm_80, and where the build was made
/// for other architectures. False without a driver. Leaves no error behind.
bool current_card_has_image();

/// Where each segment of tokens ends.
struct SegmentEnds {
  int count;
  int ends[kMaxSegments];
};

/// x += gate * y (where y is given), then out = norm(x) * (one + multiplier) + offset. Contiguous rows of `channels`.
struct LayerNormArguments {
  float* x;                 // [rows, channels]
  const void* y;            // [rows, channels] of the launch's element, or null
  const float* gate;        // [segments, channels], or null: 1
  const float* multiplier;  // [segments, channels], or null: the factor is 1
  const float* offset;      // [segments, channels], or null: 0
  float one;                // 1 with modulation, 0 with an affine weight
  void* out;                // [rows, channels] of the launch's element
  int64_t rows;             // batch * tokens
  int tokens, channels;
  float eps;
  SegmentEnds segments;
};
cudaError_t launch_layer_norm(const LayerNormArguments& arguments, Element element, cudaStream_t stream);

/// x += gate * y alone; `element` is y's. Uses x, y, gate, rows, tokens, channels and segments.
cudaError_t launch_gated_residual(const LayerNormArguments& arguments, Element element, cudaStream_t stream);

/// out = x / sqrt(mean(x^2) + eps) * weight.
struct RmsNormArguments {
  const void* x;        // [rows, channels] of `element`
  const float* weight;  // [channels]
  void* out;            // [rows, channels] of `element`
  int64_t rows;
  int channels;
  float eps;
};
cudaError_t launch_rms_norm(const RmsNormArguments& arguments, Element element, cudaStream_t stream);

/// RMS norm over all heads (where `weight` is given), then rotation, of one or two tensors.
struct RopeArguments {
  const void* x[2];        // rows of `channels` elements, `row_stride` elements apart
  const float* weight[2];  // [channels], or null: no norm
  void* out[2];            // [rows, channels], contiguous
  int count;               // 1 or 2 tensors
  int64_t row_stride[2];
  const float *cos, *sin;  // [tokens, head_dim / 2]
  int64_t rows;            // batch * tokens
  int tokens, channels, head_dim;
  float eps;
};
cudaError_t launch_norm_rope(const RopeArguments& arguments, Element element, cudaStream_t stream);

/// Widest pixel whose channels one warp holds in its registers; the networks have 96, 192, 384.
constexpr int kMaxPixelChannels = 1024;
/// out = x / max(|x|, 1e-12) * sqrt(channels) * gamma over the channels of each pixel, then SiLU. `out` may be `x`.
struct ChannelNormArguments {
  const void* x;       // [pixels, channels] of `in`
  const float* gamma;  // [channels]
  void* out;           // [pixels, channels] of `out`
  int64_t pixels;
  int channels;
  bool activate;
};
/// `out` is `in`, or `in` is Float; other pairs give cudaErrorInvalidValue.
cudaError_t launch_channel_norm(const ChannelNormArguments& arguments, Element in, Element out, cudaStream_t stream);

/// x = gelu_tanh(x + bias) in place; bias may be null.
struct BiasGeluArguments {
  void* x;           // [rows, channels] of `element`
  const void* bias;  // [channels] of `element`, or null
  int64_t rows;
  int channels;
};
cudaError_t launch_bias_gelu(const BiasGeluArguments& arguments, Element element, cudaStream_t stream);

/// One step of a solver; sums in the order written, over contiguous arrays of `size` elements:
///   v          = unconditional + guidance * (conditional - unconditional), or conditional where unconditional is null
///   prediction = x + velocity * v
///   corrected  = corrector[0] * sample + [1] * newest + [2] * older + [3] * prediction, or x where corrected is null
///   next       = predictor[0] * corrected + [1] * prediction + [2] * newest, unless next is null
struct SolverStepArguments {
  const float *conditional, *unconditional, *x;
  const float *sample, *newest, *older;  // null: zero
  float guidance, velocity, corrector[4], predictor[3];
  float *prediction, *corrected, *next;
  int64_t size;
};
cudaError_t launch_solver_step(const SolverStepArguments& arguments, cudaStream_t stream);

/// softmax(q k^T * scale + bias) v with head dimension 128, 16-bit elements. Strides in elements, each a multiple of 8;
/// the channels of a head lie together and 16-byte aligned.
struct AttentionArguments {
  struct Strided {
    const void* data;
    int64_t batch, token, head;
  };
  Strided q, k, v;
  const float* bias;       // [keys], a logit for each key, or null
  void* out;               // [batch, queries, heads, 128] contiguous
  const int* block_list;   // [heads, query blocks, list_stride] key blocks to visit, or null: all of them
  const int* block_count;  // [heads, query blocks] how many of them
  int list_stride;
  int batch, heads, queries, keys;
  float scale;  // positive
};
/// Rows of queries in a thread block, keys in a step of it: the grain of `block_list`.
constexpr int kAttentionQueryBlock = 128, kAttentionKeyBlock = 64, kAttentionHeadDim = 128;
/// `element` is Half or BFloat16. Needs sm_80 or newer.
cudaError_t launch_attention(const AttentionArguments& arguments, Element element, cudaStream_t stream);
/// The same with wgmma, compiled for sm_90a alone: no bias, no list; strides as simt::sm90::TensorView wants them for
/// [batch, tokens, heads, 128].
cudaError_t launch_attention_sm90(const AttentionArguments& arguments, Element element, cudaStream_t stream);

}  // namespace wan::kernels
