// Latent to video, one latent frame at a time. Source: Decoder3d and WanVAE_.decode, wan/modules/vae2_1.py.
#pragma once

#include "models/vae/layers.h"
#include "models/vae/tiles.h"
#include "models/weights/scope.h"

namespace wan::vae {

/// A part of the decoder at one resolution: three residual blocks, then the step up where there is one.
struct DecoderLevel {
  /// `number` is that of the first layer under `at`.
  DecoderLevel(const Scope& at, int64_t number, int64_t in, int64_t out, bool doubles, bool temporal, Build& build);
  /// Observed as upsamples<number>.
  Tensor operator()(Tensor x, FrameCache& cache, const Observer& observe) const;

  int64_t number;
  Slots slots;
  std::vector<ResidualBlock> blocks;
  std::optional<Upsample> up;
};

/// The decoder's weights. Any number of streams may run on one decoder.
struct Decoder {
  /// `root` is the root of the file; `base` the width of the last level, `latent` the channels of the latent.
  Decoder(const Scope& root, int64_t base, int64_t latent, at::ScalarType dtype);

  Build build;
  int64_t latent;
  PixelLinear conv2;
  CausalConv input;  // decoder.conv1
  Middle middle;
  std::vector<DecoderLevel> levels;
  NormedConv head;
};

/// One clip on its way through a decoder, which must outlive the stream. What it holds between chunks does not grow.
class DecoderStream {
 public:
  /// Where the convolutions' windows lie changes speed and memory, not a bit of the result.
  /// `tile_rows`: the levels are computed in tiles of so many rows (models/vae/tiles.h), for little memory: on the CPU the
  /// same bits; what they observe is each tile's. 0: on whole frames. Throws c10::Error.
  explicit DecoderStream(const Decoder& decoder, Observer observe = {}, Windows windows = Windows::Shared,
                         int64_t tile_rows = 0);
  /// latent: the next normalised latent frame [16, 1, h, w], any h and w, always the same
  ///   -> its frames [3, t, 8h, 8w] in [-1, 1], t = 1 for the first and 4 for all others; float32 (float64 where built
  ///   so).
  /// Throws c10::Error for other shapes. NaN stays NaN.
  Tensor next(const Tensor& latent);
  int64_t cache_bytes() const { return cache_.bytes(); }
  /// Bytes on the host that tiles wait with.
  int64_t host_bytes() const;

 private:
  Tensor level(size_t number, Tensor x);

  const Decoder& decoder_;
  Observer observe_;
  FrameCache cache_;
  std::vector<TiledStage> tiled_;  // of each level, or empty
  std::vector<int64_t> shape_;     // of the first latent frame
};

/// A whole clip, which is held at once: latent [16, T, h, w] -> video [3, 4(T - 1) + 1, 8h, 8w] in [-1, 1].
Tensor decode(const Decoder& decoder, const Tensor& latent, const Observer& observe = {});

}  // namespace wan::vae
