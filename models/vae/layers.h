// Layers of the causal 3D VAE. Source: wan/modules/vae2_1.py. Clips lie as [T, H, W, C] (kernels/convolution/conv3d.h), batch 1.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan::vae {

using at::Tensor;

inline constexpr int64_t kPast = 2;  // frames before the present one that a kernel of three sees

/// Where the input of a temporal convolution lies: the past frames, and behind them those of the chunk.
enum class Windows {
  Shared,  // one window for all layers, into and out of which each copies its past frames: the least memory
  Own,     // a window for each layer, whose last frames move to its front: half of the copies, twice the memory in all
};

/// Those of `first` to before `end`: of a part of a network.
struct Slots {
  int64_t first = 0, end = 0;
};

/// What the layers remember between the chunks of one clip: the last frames that each temporal convolution saw. A layer
/// knows its slot; the weights are shared and const, the memory belongs to one stream.
class FrameCache {
 public:
  explicit FrameCache(int64_t slots, Windows windows = Windows::Shared) : windows_(windows), slots_(slots) {}
  Tensor& operator[](int64_t slot) { return slots_.at(slot); }
  /// A window [kPast + T, H, W, C] for a chunk of `shape` [T, H, W, C], which the caller writes into its last T frames.
  /// The first frames are those that the layer saw last, or zeros. Valid until the next call.
  Tensor window(int64_t slot, at::IntArrayRef shape, const at::TensorOptions& options);
  /// Remembers the last frames of the window, once they are written.
  void keep(int64_t slot, const Tensor& window);
  /// Gives away what the slots hold, and they hold nothing then.
  std::vector<Tensor> take(Slots slots);
  /// Puts back what was taken: of nothing, the slots stay empty.
  void put(Slots slots, std::vector<Tensor> held);
  /// Bytes held; constant from the third chunk on.
  int64_t bytes() const;

 private:
  Tensor shared_room(at::IntArrayRef shape, const at::TensorOptions& options);

  Windows windows_;
  std::vector<Tensor>
      slots_;    // [1 or more, H, W, C], of which the last count; undefined until the layer has seen frames
  Tensor room_;  // flat, as large as the largest shared window so far
};

/// Sees a clip [T, H, W, C] after the named part of the network; costs nothing where it is empty.
using Observer = std::function<void(std::string_view name, const Tensor& clip)>;

/// How layers are built.
struct Build {
  at::ScalarType dtype;  // of activations, and of the weights where they are copied
  int64_t slots = 0;     // cache slots given out so far
};

/// Causal 3x3x3 convolution over norm and SiLU of its input, or over the input itself.
struct CausalConv {
  CausalConv(const Scope& at, int64_t in, int64_t out, Build& build);
  /// What is left out of a convolution's input or output, to be added where it costs nothing.
  struct Biases {
    Tensor before = {};     // [in]: still to be added to x, before its norm
    bool left_out = false;  // the own one, for what comes next to add
  };
  /// x [T, H, W, in] -> [T, H, W, out]. With `gamma` [in], x is normed and activated first. x is released on the way.
  Tensor operator()(Tensor x, const Tensor& gamma, FrameCache& cache, const Biases& biases) const;
  Tensor operator()(Tensor x, const Tensor& gamma, FrameCache& cache) const {
    return (*this)(std::move(x), gamma, cache, Biases());
  }

  Weight weight, bias;
  int64_t slot;
};

/// 1x1 convolution: a linear layer over channels. The file stores the weight with `ones` trailing axes of size 1.
struct PixelLinear {
  PixelLinear(const Scope& at, int64_t in, int64_t out, int64_t ones, const Build& build);
  Tensor operator()(const Tensor& x) const;
  Weight weight, bias;
};

/// Norm, SiLU, causal convolution: `norm` and `conv` are the numbers of the two in the sequence under `at`.
struct NormedConv {
  NormedConv(const Scope& at, int64_t norm, int64_t conv, int64_t in, int64_t out, Build& build);
  Tensor operator()(Tensor x, FrameCache& cache, const CausalConv::Biases& biases = {}) const {
    return conv(std::move(x), gamma.tensor(), cache, biases);
  }
  Weight gamma;
  CausalConv conv;
};

/// conv(silu(norm(conv(silu(norm(x)))))) + shortcut(x).
struct ResidualBlock {
  ResidualBlock(const Scope& at, int64_t in, int64_t out, Build& build);
  Tensor operator()(const Tensor& x, FrameCache& cache) const;
  /// The same without the shortcut. `bias_in_norm`: the first convolution's bias is added by the norm behind it.
  Tensor branch(const Tensor& x, FrameCache& cache, bool bias_in_norm) const;
  NormedConv first, second;
  std::optional<PixelLinear> shortcut;  // only where the width changes
};

/// Single-head attention of a frame's pixels among themselves, with its norm and residual.
struct FrameAttention {
  FrameAttention(const Scope& at, int64_t channels, const Build& build);
  Tensor operator()(const Tensor& x) const;
  Weight gamma;
  PixelLinear to_qkv, proj;
};

/// Halves frames in space and, with `temporal`, then in time: 1 frame stays 1 at the start of a clip, later 4 -> 2
/// -> 1.
struct Downsample {
  Downsample(const Scope& at, int64_t channels, bool temporal, Build& build);
  Tensor operator()(const Tensor& x, FrameCache& cache) const;
  Weight weight, bias;            // resample.1
  Weight time_weight, time_bias;  // time_conv, empty without `temporal`
  int64_t slot = -1;
};

/// Doubles frames in time (with `temporal`; not the first latent frame), then in space, where it halves the channels.
struct Upsample {
  Upsample(const Scope& at, int64_t channels, bool temporal, Build& build);
  Tensor operator()(Tensor x, FrameCache& cache) const;
  Weight folded, bias;  // resample.1, its taps summed for the doubled pixels
  Weight time_weight, time_bias;
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
