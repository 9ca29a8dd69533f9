#include "engine/job/conditioning.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "engine/frames/vae_clip.h"
#include "engine/sampling/noise.h"
#include "models/vae/latent.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

/// Feeds a clip of `frames` frames to the encoder, chunk by chunk: `chunk(start, count)` gives [3, count, H, W].
template <typename Chunk>
at::Tensor encode_clip(const vae::Vae& vae, int64_t frames, Chunk chunk, const Run& run) {
  vae::EncoderStream stream(vae.encoder);
  std::vector<at::Tensor> latents;
  for (int64_t start = 0; start < frames; start += start == 0 ? 1 : 4) {
    run.progress.at({Stage::Encode, int64_t(latents.size()), (frames - 1) / 4 + 1, "", run.label});
    latents.push_back(stream.next(chunk(start, start == 0 ? 1 : 4)));
  }
  return at::cat(latents, 1);
}

}  // namespace

at::Tensor image_condition(const vae::Vae& vae, const at::Tensor& image, const at::Tensor& last_image, int64_t frames,
                           const Run& run) {
  at::Device device = vae.encoder.conv1.weight.device();
  at::Tensor grey = at::zeros({image.size(0), 4, image.size(1), image.size(2)}, image.options().device(device));
  at::Tensor first = image.to(device).unsqueeze(1);
  auto chunk = [&](int64_t start, int64_t count) {
    if (start == 0) return first;
    if (!last_image.defined() || start + count < frames) return grey;
    at::Tensor end = grey.clone();
    end.select(1, count - 1).copy_(last_image);
    return end;
  };
  at::Tensor latent = encode_clip(vae, frames, chunk, run);
  at::Tensor mask = at::zeros_like(latent.narrow(0, 0, 4));
  mask.select(1, 0).fill_(1);
  // Four frames share a latent frame; only the last of them is given.
  if (last_image.defined() && latent.size(1) > 1) mask.select(1, latent.size(1) - 1).select(0, 3).fill_(1);
  return at::cat({mask, latent});
}

at::Tensor pixel_latent(const vae::Vae& vae, const at::Tensor& pixels, const Run& run) {
  at::Device device = vae.encoder.conv1.weight.device();
  auto chunk = [&](int64_t start, int64_t count) { return pixels.narrow(1, start, count).to(device); };
  return encode_clip(vae, pixels.size(1), chunk, run);
}

at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, const Run& run) {
  at::Device device = vae.encoder.conv1.weight.device();
  auto chunk = [&](int64_t start, int64_t count) {
    at::Tensor rgb = frames.narrow(0, start, count).to(device, at::kFloat);
    return rgb.div_(255).mul_(2).sub_(1).permute({3, 0, 1, 2});
  };
  return encode_clip(vae, frames.size(0), chunk, run);
}

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
      Noise(uint64_t(request.seed), placement.noise)
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
  write_safetensors(path, tensors);
}

Encoded load_encoded(const std::filesystem::path& path, at::Device device) {
  Checkpoint file = Checkpoint::open(path);
  auto get = [&](const char* name) {
    return file.tensors().count(name) ? file.map(name).clone().to(device) : at::Tensor();
  };
  return {{.positive = get("positive"), .negative = get("negative"), .image = get("image")}, get("clean")};
}

}  // namespace wan
