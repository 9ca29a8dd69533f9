// Video to latent, one chunk at a time. Source: Encoder3d and WanVAE_.encode, wan/modules/vae2_1.py.
#pragma once

#include "models/vae/layers.h"
#include "models/vae/tiles.h"
#include "models/weights/scope.h"

namespace wan::vae {

/// A part of the encoder at one resolution: two residual blocks, then the step down where there is one.
struct EncoderLevel {
  /// `number` is that of the first layer under `at`.
  EncoderLevel(const Scope& at, int64_t number, int64_t in, int64_t out, bool halves, bool temporal, Build& build);
  /// Observed as downsamples<number>.
  Tensor operator()(Tensor x, FrameCache& cache, const Observer& observe) const;

  int64_t number;
  Slots slots;
  std::vector<ResidualBlock> blocks;
  std::optional<Downsample> down;
};

/// The encoder's weights. Any number of streams may run on one encoder.
struct Encoder {
  /// `root` is the root of the file; `base` the width of the first level, `latent` the channels of the latent.
  Encoder(const Scope& root, int64_t base, int64_t latent, at::ScalarType dtype);

  /// Four stages in order, each a level and what stands before or after it: the last gives [T, h, w, 2 * latent].
  static constexpr int64_t kStages = 4;
  Tensor stage(int64_t number, Tensor x, FrameCache& cache, const Observer& observe) const;
  /// How many of a stage's latest output frames are settled where `settled` of its latest input frames are: a frame is
  /// settled when it equals, bit for bit, the frame one chunk before it. Each causal convolution looks two frames back.
  int64_t settled_after(int64_t number, int64_t settled) const;

  Build build;
  int64_t latent;
  CausalConv input;  // encoder.conv1
  std::vector<EncoderLevel> levels;
  Middle middle;
  NormedConv head;
  PixelLinear conv1;
};

/// One clip on its way through an encoder, which must outlive the stream.
///
/// Image-to-video encodes an image and then 80 equal grey frames. Once the frames that a stage can see repeat bit for
/// bit, so does its output, and it is not run again; a clip that moves pays one comparison of its frames for that.
class EncoderStream {
 public:
  /// `reuse` false runs every stage on every chunk; the output is the same to the bit.
  /// `tile_rows`: the stages but the last are computed in tiles of so many rows (models/vae/tiles.h), for little memory:
  /// on the CPU the same bits; what they observe is each tile's. 0: on whole frames. Throws c10::Error.
  explicit EncoderStream(const Encoder& encoder, Observer observe = {}, bool reuse = true, int64_t tile_rows = 0);
  /// chunk [3, t, H, W] in [-1, 1], t = 1 for the first and 4 for all others, H and W multiples of 8 and always the
  /// same
  ///   -> normalised latent frame [16, 1, H / 8, W / 8], (mu - mean) / std, float32 (float64 where the weights are
  ///   built so).
  /// Throws c10::Error for other shapes.
  Tensor next(const Tensor& chunk);
  int64_t cache_bytes() const { return cache_.bytes(); }
  /// Bytes on the host that tiles wait with.
  int64_t host_bytes() const;

 private:
  int64_t settled_frames(const Tensor& clip);
  Tensor stage(int64_t number, Tensor x);

  const Encoder& encoder_;
  Observer observe_;
  bool reuse_;
  FrameCache cache_;
  std::vector<TiledStage> tiled_;  // of each stage but the last, or empty
  Tensor previous_;                // the chunk before, [t, H, W, 3]
  int64_t settled_ = 0;
  std::array<Tensor, Encoder::kStages> outputs_;  // of the chunk before, kept while the input repeats
};

/// A whole clip: video [3, F, H, W], F = 4n + 1 -> latent [16, n + 1, H / 8, W / 8].
Tensor encode(const Encoder& encoder, const Tensor& video, const Observer& observe = {});

}  // namespace wan::vae
