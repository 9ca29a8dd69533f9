// Finished latents on disk, so that hours of sampling survive a decode that fails.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "engine/job/record.h"

namespace wan {

struct SavedLatents {
  at::Tensor latents;      // [16, T, h, w] float32, normalised
  int64_t frames = 0;      // how many of the decoded frames the video keeps
  std::string audio_from;  // file whose sound goes into the video; saved as its name alone. Empty: none
  Record record;
};

/// Written beside and renamed. Throws std::runtime_error where the disk refuses.
void save_latents(const std::filesystem::path& path, const SavedLatents& saved);
/// `audio_from` is then the file of that name beside the latents, or else in the current folder, whether it is there or
/// not. Throws ModelError for a damaged file, InvalidRequest where it holds something else.
SavedLatents load_latents(const std::filesystem::path& path);

}  // namespace wan
