// A tiny model as users have it: in the folders of diffusers, of ComfyUI, as single files.
#pragma once

#include <filesystem>
#include <functional>

#include "engine/residency/find_parts.h"

namespace wan::layouts {

inline const std::filesystem::path kGolden = WAN_SOURCE_DIR "/tests/golden/checkpoints";
inline const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

Request request(Task task, const std::filesystem::path& model);
/// Names every part of a text-to-video model in the official layout by its flag, but the tokenizer.
Request all_named(const std::filesystem::path& model);

/// The tensors of a checkpoint as one safetensors file, each by the name that `renamed` gives it.
void write_single(const std::filesystem::path& to, const std::filesystem::path& from,
                  const std::function<std::string(std::string)>& renamed = {});
void copy_tokenizer(const std::filesystem::path& folder);

/// A text-to-video model in the layout and with the names of diffusers; the VAE's names are the official ones.
void write_diffusers(const std::filesystem::path& root);
/// A folder `models` of ComfyUI with a text-to-video and an image-to-video model, a LoRA, a video model whose name says
/// neither high nor low, and a file that is none.
void write_comfy(const std::filesystem::path& models);

}  // namespace wan::layouts
