// From a request and its inputs to what the sampling starts from: text states, image latents, the first sample.
#pragma once

#include <filesystem>

#include "engine/base/progress.h"
#include "engine/job/inputs.h"
#include "engine/job/text_states.h"
#include "engine/sampling/guidance.h"

namespace wan {

/// Everything that the networks before the transformer have to say about a job.
struct Encoded {
  Conditioning conditioning;
  at::Tensor clean;  // video to video: the input's normalised latent [16, T, h, w]; else undefined
};

/// Whether a step needs the negative prompt.
bool guides(const std::vector<Step>& schedule);
/// Runs the VAE on the inputs; the states of the prompts stay undefined. Throws Cancelled between chunks.
Encoded encode_inputs(Networks& networks, const Request& request, const std::vector<Step>& schedule,
                      const Inputs& inputs, Progress& progress, const std::string& job = "");
/// The same after the text encoder ran on both prompts (the negative one only where a step guides).
Encoded encode(Networks& networks, TextStates& text, const Request& request, const std::vector<Step>& schedule,
               const Inputs& inputs, Progress& progress);

/// Image to video's condition: [20, T, h, w], the mask of given frames (4 channels) and the latent of
/// [image, grey frames, last image]. image and last_image [3, H, W]; last_image may be undefined.
/// Source: wan/image2video.py; last image as diffusers' WanImageToVideoPipeline.
at::Tensor image_condition(const vae::Vae& vae, const at::Tensor& image, const at::Tensor& last_image, int64_t frames,
                           Progress& progress, const std::string& job = "");
/// Pixels [3, F, H, W] in [-1, 1], F = 4n + 1 -> normalised latent [16, n + 1, H/8, W/8] on the VAE's device.
at::Tensor pixel_latent(const vae::Vae& vae, const at::Tensor& pixels, Progress& progress, const std::string& job = "");
/// uint8 [F, H, W, 3], F = 4n + 1 -> normalised latent [16, n + 1, H/8, W/8].
at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, Progress& progress, const std::string& job = "");

/// What the first step starts from: noise itself, or with `clean` (video to video) that latent noised to this step.
at::Tensor noised(const at::Tensor& noise, const at::Tensor& clean, const std::vector<Step>& schedule);
/// The same with the request's seed, on the placement's device.
at::Tensor first_sample(const Request& request, const std::vector<Step>& schedule, const Encoded& encoded,
                        const Placement& placement);

/// What a later process needs of `Encoded`, in one safetensors file.
void save_encoded(const std::filesystem::path& path, const Encoded& encoded);
Encoded load_encoded(const std::filesystem::path& path, at::Device device);

}  // namespace wan
