// Video to video: the frames of a request's video, and their latent.
#pragma once

#include "engine/job/task.h"

namespace wan {

/// Where no length was asked for, that of the file. Throws InvalidRequest naming the field.
Inputs load_video(const Request& request, const InputFiles& files, Notes& notes);
/// Throws Cancelled between chunks.
Encoded encode_video(Networks& networks, const Request& request, const Inputs& inputs, const Run& run);

/// uint8 [F, H, W, 3], F = 4n + 1 -> normalised latent [16, n + 1, H/8, W/8].
at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, const Run& run, int64_t tile_rows = 0);

}  // namespace wan
