// What the sampling starts from: text states, image latents, the first sample.
#pragma once

#include <filesystem>

#include "engine/request/geometry.h"
#include "engine/request/schedule.h"
#include "engine/residency/run.h"
#include "engine/sampling/guidance.h"

namespace wan {

/// What the networks before the transformer give for a job.
struct Encoded {
  Conditioning conditioning;
  at::Tensor clean;  // video to video: the input's normalised latent [16, T, h, w]; else undefined
};

/// What the first step starts from: noise itself, or with `clean` (video to video) that latent noised to this step.
at::Tensor noised(const at::Tensor& noise, const at::Tensor& clean, const Schedule& schedule);
/// The same with the request's seed and a video of this geometry, on the placement's device.
at::Tensor first_sample(const Request& request, const Geometry& geometry, const Schedule& schedule,
                        const Encoded& encoded, const Placement& placement);

/// What a later process needs of `Encoded`, in one safetensors file.
void save_encoded(const std::filesystem::path& path, const Encoded& encoded);
Encoded load_encoded(const std::filesystem::path& path, at::Device device);

}  // namespace wan
