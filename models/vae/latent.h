// The latent space: its statistics over the training data, by which the transformer's latents are normalised.
#pragma once

#include <ATen/core/Tensor.h>

namespace wan::vae {

inline constexpr int64_t kLatentChannels = 16;
inline constexpr int64_t kPixels = 8;  // pixels to a latent pixel, each way

/// float32, or float64 where `x` is that: what stands outside the network.
at::Tensor computed(const at::Tensor& x);
/// (mu - mean) / std over the last axis: mu [..., 16] of any float dtype -> computed(mu). Source: WanVAE, vae2_1.py.
at::Tensor normalise(const at::Tensor& mu);
/// latent * std + mean over the last axis.
at::Tensor denormalise(const at::Tensor& latent);

}  // namespace wan::vae
