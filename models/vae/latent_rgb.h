// A rough picture of a latent without its decoder: colours as a linear map of the latent's channels.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace wan::vae {

/// Of each latent pixel the mean colour of its 8x8 pixels, in [-1, 1] or a little outside.
struct LatentRgb {
  at::Tensor factors;  // float64 [17, 3], CPU: red, green and blue of each of the 16 channels, then what is added

  /// Normalised latent [16, h, w] on any device -> float32 [3, h, w] on the CPU. Throws c10::Error for other shapes.
  at::Tensor operator()(const at::Tensor& latent) const;
};

/// A latent frame and what it is decoded to.
struct DecodedLatent {
  at::Tensor latent;  // normalised [16, 1, h, w]
  at::Tensor frame;   // [3, 1, 8h, 8w] in [-1, 1]; what is outside counts as the nearest that files can hold
};

/// The map with the least squares of errors over all latent pixels, in float64. Channels that never change get a factor of
/// 0. Throws c10::Error for other shapes and for none.
LatentRgb fit_latent_rgb(const std::vector<DecodedLatent>& decoded);

/// The middle latent frame of latents [16, T, h, w], on any device, as uint8 [2h, 2w, 3] on the CPU: a quarter of the video's
/// size each way. From a GPU that one frame is copied, and nothing else waits. Throws c10::Error for other shapes.
at::Tensor preview_picture(const LatentRgb& map, const at::Tensor& latents);

}  // namespace wan::vae
