#include "engine/job/image_task.h"

#include <ATen/ATen.h>

#include "engine/frames/vae_clip.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"

namespace wan {

namespace {

/// Cuts out the wanted shape, where the size is not one that follows the image.
at::Tensor covering(const Geometry& size, const at::Tensor& rgb) {
  return resize_bicubic(resize_cover(rgb, size.height, size.width), size.height, size.width);
}

}  // namespace

Inputs load_images(const Request& request, const InputFiles& files, Notes& notes) {
  Inputs inputs{.geometry = asked_geometry(request)};
  const at::Tensor image = read_image(files.image, &notes);
  settle_size(request, image.size(1), image.size(0), inputs.geometry);
  // The reference does not keep the last fraction of the image's shape: its size is the nearest multiple of 16.
  const Geometry& size = inputs.geometry;
  if (request.width > 0) note_cropping("image_url", {image.size(1), image.size(0)}, size, notes);
  inputs.image = request.width == 0 ? resize_bicubic(image, size.height, size.width) : covering(size, image);
  if (files.last_image.path.empty()) return inputs;
  const at::Tensor last = read_image(files.last_image, &notes);
  note_cropping("last_image_url", {last.size(1), last.size(0)}, size, notes,
                "a picture of the first one's shape is kept whole");
  inputs.last_image = covering(size, last);
  return inputs;
}

at::Tensor image_condition(const vae::Vae& vae, const at::Tensor& image, const at::Tensor& last_image, int64_t frames,
                           const Run& run, int64_t tile_rows) {
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
  at::Tensor latent = encode_clip(vae, frames, chunk, run, tile_rows);
  at::Tensor mask = at::zeros_like(latent.narrow(0, 0, 4));
  mask.select(1, 0).fill_(1);
  // Four frames share a latent frame; only the last of them is given.
  if (last_image.defined() && latent.size(1) > 1) mask.select(1, latent.size(1) - 1).select(0, 3).fill_(1);
  return at::cat({mask, latent});
}

Encoded encode_images(Networks& networks, const Request& request, const Inputs& inputs, const Run& run) {
  Encoded encoded;
  const int64_t frames = request.rendered_frames();
  encoded.conditioning.image = encode_in_range(networks, [&](const vae::Vae& vae, int64_t tile_rows) {
    return image_condition(vae, inputs.image, inputs.last_image, frames, run, tile_rows);
  });
  return encoded;
}

}  // namespace wan
