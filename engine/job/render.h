// One request from words to a video file: encode, sample, decode and write.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "engine/frames/vae_clip.h"
#include "engine/job/conditioning.h"
#include "engine/job/latents.h"
#include "engine/residency/networks.h"

namespace wan {

struct RenderOptions {
  std::string contact_sheet;  // PNG made beside the video; empty: none
  /// Of speech that is replayed: what computed it. Other tasks, which keep no steps, take what is pinned.
  std::map<std::string, std::string> attention = {};
  Contexts* contexts = nullptr;  // of the kernels; null: default options and no choice of attention
};

/// Renders `request` to `request.out`. The latents are on disk before decoding starts and removed once the video is;
/// so are the copies of URLs, which each run fetches anew. Where decoding fails, the sound of a URL stays with them.
/// Throws InvalidRequest, ModelError, Cancelled; std::runtime_error where the machine refuses or a step gives NaN.
void render(const Request& request, const RenderOptions& options, const Log& log, Progress& progress);

/// Finishes a job from its saved latents, which the caller may then remove: `out` gets the record's request. The copy
/// of a URL's sound that render() kept for them goes; a sound that has gone before is left out with a warning.
void decode_saved(SavedLatents saved, const std::string& out, const Placement& placement, const ModelFolder& folder,
                  const RenderOptions& options, const Log& log, Progress& progress);

/// Video to video at a strength that keeps no step: the endpoint defines the result as the input, at the output's
/// geometry. `request` is settled by load_inputs.
inline constexpr const char* kNoStepText = "strength keeps no step: the output is the input, encoded again";
void write_input(const Request& request, const Inputs& inputs, const Record& record, const RenderOptions& options = {});

/// The frames [3, t, H, W] that latent frame `chunk` of latents [16, T, h, w] adds to those before it, in [-1, 1].
/// Throws std::runtime_error where they hold NaN or Inf, which a file would show as black.
at::Tensor decode_chunk(ClipDecoder& decoder, const at::Tensor& latents, int64_t chunk);

/// Decodes latents and encodes the frames as they come, exactly `saved.frames` of them, to `out`.
void write_video(Networks& networks, const SavedLatents& saved, const std::string& out, const RenderOptions& options,
                 Progress& progress, const std::string& job = "");

}  // namespace wan
