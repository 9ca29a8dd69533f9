// Image to video: the pictures of a request, and the condition that the transformer sees of them.
#pragma once

#include "engine/job/task.h"

namespace wan {

/// Throws InvalidRequest naming the field.
Inputs load_images(const Request& request, const InputFiles& files, Notes& notes);
/// Throws Cancelled between chunks.
Encoded encode_images(Networks& networks, const Request& request, const Inputs& inputs, const Run& run);

/// Image to video's condition: [20, T, h, w], the mask of given frames (4 channels) and the latent of
/// [image, grey frames, last image]. image and last_image [3, H, W]; last_image may be undefined. `tile_rows` as
/// vae::EncoderStream has it.
/// Source: wan/image2video.py; last image as diffusers' WanImageToVideoPipeline.
at::Tensor image_condition(const vae::Vae& vae, const at::Tensor& image, const at::Tensor& last_image, int64_t frames,
                           const Run& run, int64_t tile_rows = 0);

}  // namespace wan
