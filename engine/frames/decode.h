// Latents to frames, latent frame by latent frame.
#pragma once

#include <functional>

#include "engine/frames/vae_clip.h"
#include "engine/residency/run.h"

namespace wan {

/// The frames [3, t, H, W] that latent frame `chunk` of latents [16, T, h, w] adds to those before it, in [-1, 1].
/// Throws NotFinite where they hold NaN or Inf, which a file would show as black.
at::Tensor decode_chunk(ClipDecoder& decoder, const at::Tensor& latents, int64_t chunk);

/// Decodes latents [16, T, h, w] as far as `count` frames need, and gives `take` exactly these, uint8 [t, H, W, 3] on
/// the CPU. Progress is asked before each latent frame.
void decode_frames(Networks& networks, const at::Tensor& latents, int64_t count, const Run& run,
                   const std::function<void(const at::Tensor& rgb)>& take);

}  // namespace wan
