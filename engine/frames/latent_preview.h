// Pictures of a video while it is sampled: the linear map from latents to colours (models/vae/latent_rgb.h) of a VAE.
#pragma once

#include <functional>

#include "models/vae/latent_rgb.h"
#include "models/vae/vae.h"

namespace wan {

/// How many pictures a fit takes.
inline constexpr int64_t kPreviewPictures = 8;
/// Goes up with every change of how a map is fitted: maps of another number are made anew.
inline constexpr int64_t kPreviewFit = 1;

/// Fits the map of a VAE that lies on the CPU. Drawn pictures, of areas with edges, slopes and texture, go through its
/// encoder, and what comes back from its decoder is told by the latents between. Latents that are drawn themselves would
/// be cheaper by the encoder, but they are none that a picture has: their channels depend on each other, and a map that
/// was fitted on others shows real ones in wrong colours (docs/previews.md).
/// `before` is called before each picture with its number, from 0, and may throw to stop. Throws NotFinite where the VAE
/// gives NaN or Inf, c10::Error.
vae::LatentRgb fit_preview(const vae::Vae& vae, const std::function<void(int64_t picture)>& before = {});

}  // namespace wan
