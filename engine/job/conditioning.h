// From a request and its inputs to what the sampling starts from: text states, image latents, the first sample.
#pragma once

#include <filesystem>

#include "engine/job/inputs.h"
#include "engine/request/schedule.h"
#include "engine/residency/run.h"
#include "engine/sampling/guidance.h"

namespace wan {

/// What the networks before the transformer give for a job.
struct Encoded {
  Conditioning conditioning;
  at::Tensor clean;  // video to video: the input's normalised latent [16, T, h, w]; else undefined
};

/// Image to video's condition: [20, T, h, w], the mask of given frames (4 channels) and the latent of
/// [image, grey frames, last image]. image and last_image [3, H, W]; last_image may be undefined.
/// Source: wan/image2video.py; last image as diffusers' WanImageToVideoPipeline.
at::Tensor image_condition(const vae::Vae& vae, const at::Tensor& image, const at::Tensor& last_image, int64_t frames,
                           const Run& run);
/// Pixels [3, F, H, W] in [-1, 1], F = 4n + 1 -> normalised latent [16, n + 1, H/8, W/8] on the VAE's device.
at::Tensor pixel_latent(const vae::Vae& vae, const at::Tensor& pixels, const Run& run);
/// uint8 [F, H, W, 3], F = 4n + 1 -> normalised latent [16, n + 1, H/8, W/8].
at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, const Run& run);

/// What the first step starts from: noise itself, or with `clean` (video to video) that latent noised to this step.
at::Tensor noised(const at::Tensor& noise, const at::Tensor& clean, const Schedule& schedule);
/// The same with the request's seed and a video of this geometry, on the placement's device.
at::Tensor first_sample(const Request& request, const Geometry& geometry, const Schedule& schedule,
                        const Encoded& encoded, const Placement& placement);

/// What a later process needs of `Encoded`, in one safetensors file.
void save_encoded(const std::filesystem::path& path, const Encoded& encoded);
Encoded load_encoded(const std::filesystem::path& path, at::Device device);

}  // namespace wan
