// Layers of the causal 3D VAE. Source: wan/modules/vae2_1.py. Clips lie as [T, H, W, C] (kernels/conv3d.h), batch 1.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "models/checkpoint.h"

namespace wan::vae {

using at::Tensor;

/// What the layers remember between the chunks of one clip: the last frames that each temporal convolution saw. A layer
/// knows its slot; the weights are shared and const, the memory belongs to one stream.
class FrameCache {
 public:
  explicit FrameCache(int64_t slots) : slots_(slots) {}
  Tensor& operator[](int64_t slot) { return slots_.at(slot); }
  /// Room for the input of one convolution, valid until the next call. All layers share it: fresh memory for each would
  /// be faulted in page by page.
  Tensor window(at::IntArrayRef shape, const at::TensorOptions& options);
  /// Bytes held; constant from the third chunk on.
  int64_t bytes() const;

 private:
  std::vector<Tensor> slots_;  // [1 or 2, H, W, C]; undefined until the layer has seen frames
  Tensor room_;                // flat, as large as the largest window so far
};

/// Sees a clip [T, H, W, C] after the named part of the network; costs nothing where it is empty.
using Observer = std::function<void(std::string_view name, const Tensor& clip)>;

/// How layers are built.
struct Build {
  at::ScalarType dtype;  // of activations, and of the weights wherever they are not the mapped file itself
  int64_t slots = 0;     // cache slots given out so far
};

/// Causal 3x3x3 convolution over norm and SiLU of its input, or over the input itself.
struct CausalConv {
  CausalConv(const Scope& at, int64_t in, int64_t out, Build& build);
  /// x [T, H, W, in] -> [T, H, W, out]. With `gamma` [in], x is normed and activated first. x is released on the way.
  Tensor operator()(Tensor x, const Tensor& gamma, FrameCache& cache) const;

  Tensor weight, bias;
  int64_t slot;
};

/// 1x1 convolution: a linear layer over channels. The file stores the weight with `ones` trailing axes of size 1.
struct PixelLinear {
  PixelLinear(const Scope& at, int64_t in, int64_t out, int64_t ones, const Build& build);
  Tensor operator()(const Tensor& x) const;
  Tensor weight, bias;
};

/// Norm, SiLU, causal convolution: `norm` and `conv` are the numbers of the two in the sequence under `at`.
struct NormedConv {
  NormedConv(const Scope& at, int64_t norm, int64_t conv, int64_t in, int64_t out, Build& build);
  Tensor operator()(Tensor x, FrameCache& cache) const { return conv(std::move(x), gamma, cache); }
  Tensor gamma;
  CausalConv conv;
};

/// conv(silu(norm(conv(silu(norm(x)))))) + shortcut(x).
struct ResidualBlock {
  ResidualBlock(const Scope& at, int64_t in, int64_t out, Build& build);
  Tensor operator()(const Tensor& x, FrameCache& cache) const;
  NormedConv first, second;
  std::optional<PixelLinear> shortcut;  // only where the width changes
};

/// Single-head attention of a frame's pixels among themselves, with its norm and residual.
struct FrameAttention {
  FrameAttention(const Scope& at, int64_t channels, const Build& build);
  Tensor operator()(const Tensor& x) const;
  Tensor gamma;
  PixelLinear to_qkv, proj;
};

/// Halves frames in space and, with `temporal`, then in time: 1 frame stays 1 at the start of a clip, later 4 -> 2
/// -> 1.
struct Downsample {
  Downsample(const Scope& at, int64_t channels, bool temporal, Build& build);
  Tensor operator()(const Tensor& x, FrameCache& cache) const;
  Tensor weight, bias;            // resample.1
  Tensor time_weight, time_bias;  // time_conv, undefined without `temporal`
  int64_t slot = -1;
};

/// Doubles frames in time (with `temporal`; not the first latent frame), then in space, where it halves the channels.
struct Upsample {
  Upsample(const Scope& at, int64_t channels, bool temporal, Build& build);
  Tensor operator()(Tensor x, FrameCache& cache) const;
  Tensor folded, bias;  // resample.1, its taps summed for the doubled pixels
  Tensor time_weight, time_bias;
  int64_t slot = -1;
};

/// The lowest resolution, where both networks are widest.
struct Middle {
  Middle(const Scope& at, int64_t channels, Build& build);
  /// Observed as middle0, middle1 and middle2.
  Tensor operator()(Tensor x, FrameCache& cache, const Observer& observe) const;
  ResidualBlock block0;
  FrameAttention attention1;
  ResidualBlock block2;
};

}  // namespace wan::vae
