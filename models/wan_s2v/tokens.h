// The tokens of the speech-to-video transformer and where they stand: noisy frames, the reference image, frames of the
// past. Source: WanModel_S2V.forward, FramePackMotioner (wan/modules/s2v/model_s2v.py, motioner.py).
#pragma once

#include "models/wan/embedding.h"

namespace wan {

/// The past of a clip: pixels, and the latents the encoder makes of them.
inline constexpr int64_t kMotionFrames = 73, kMotionLatents = 19;
/// The reference image's place on the time axis; so a clip has at most this many latent frames.
inline constexpr int64_t kReferenceTime = 30;

/// The past, the coarser the older: the newest latent in patches of 1x2x2, the two before it in 2x4x4, sixteen in
/// 4x8x8.
struct FramePacker {
  FramePacker(const Scope& at, const WanConfig& config, at::ScalarType compute);
  /// motion [16, up to 19, h, w], oldest first, h and w multiples of 8; zeros stand for what is missing
  /// -> [1, tokens, dim] in float32_dtype(compute), in the order 1x, 2x, 4x.
  Tensor operator()(const Tensor& motion) const;

  PatchEmbedding proj, proj_2x, proj_4x;
};

/// Which fine index each of `coarse` tokens along an axis of `fine` stands at: numpy's linspace(0, fine - 1, coarse),
/// truncated.
std::vector<int64_t> spread(int64_t fine, int64_t coarse);
/// Positions of FramePacker's tokens for a grid of rows x columns fine tokens: [tokens, 3] int64 (t, y, x), t below 0.
Tensor motion_positions(int64_t rows, int64_t columns);
/// Positions of all tokens: noisy frames, the reference image, and the motion tokens where the clip has them.
Tensor speech_positions(int64_t frames, int64_t rows, int64_t columns, bool motion);

}  // namespace wan
