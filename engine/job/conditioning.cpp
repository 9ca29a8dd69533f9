#include "engine/job/conditioning.h"

#include <ATen/ATen.h>

#include "engine/sampling/noise.h"
#include "models/vae/latent.h"
#include "models/weights/format/safetensors.h"

namespace wan {

at::Tensor noised(const at::Tensor& noise, const at::Tensor& clean, const Schedule& schedule) {
  if (!clean.defined()) return noise;
  const float sigma = schedule[0].sigma;
  return (1 - sigma) * clean + sigma * noise;
}

at::Tensor first_sample(const Request& request, const Geometry& geometry, const Schedule& schedule,
                        const Encoded& encoded, const Placement& placement) {
  constexpr int64_t kTimes = 4, kPixels = vae::kPixels;
  const int64_t frames = rendered_frames(request.task, geometry.num_frames);
  at::Tensor noise =
      Noise(request.seed, placement.noise)
          .draw({vae::kLatentChannels, (frames - 1) / kTimes + 1, geometry.height / kPixels, geometry.width / kPixels})
          .to(placement.device);
  return noised(noise, encoded.clean, schedule);
}

void save_encoded(const std::filesystem::path& path, const Encoded& encoded) {
  std::map<std::string, at::Tensor> tensors;
  auto put = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors[name] = tensor;
  };
  put("positive", encoded.conditioning.positive);
  put("negative", encoded.conditioning.negative);
  put("image", encoded.conditioning.image);
  put("clean", encoded.clean);
  write_with_digest(path, tensors);
}

Encoded load_encoded(const std::filesystem::path& path, at::Device device) {
  Checkpoint file = Checkpoint::open(path);
  auto get = [&](const char* name) {
    return file.tensors().count(name) ? file.map(name).clone().to(device) : at::Tensor();
  };
  return {{.positive = get("positive"), .negative = get("negative"), .image = get("image")}, get("clean")};
}

}  // namespace wan
