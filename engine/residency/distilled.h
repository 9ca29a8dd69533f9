// Whether a checkpoint or a LoRA is distilled to few steps: nothing in its weights tells, so that names and texts must.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/residency/parts.h"

namespace wan {

/// Whether a file's or folder's name says so, in whatever case: lightning, lightx2v, seko, distill, or a number of
/// steps up to 8, as 4step, 4-steps, 8_steps; "undistilled" and "non-distilled" say the opposite. Else whether its
/// metadata do, in a title, a name or a description.
bool distilled(std::string_view name, const std::map<std::string, std::string>& metadata = {});

/// Of a file: its name and the texts in its header. A file that cannot be read is judged by its name.
bool distilled_file(const std::filesystem::path& file);
/// Of a LoRA: also the name of its folder, as published pairs have it
/// ("...-4steps-lora-rank64/high_noise_model.safetensors").
bool distilled_lora(const std::filesystem::path& file);

/// The number of steps, 1 to 8, that a LoRA is distilled to: what the first of its name, its folder's and its metadata
/// says that says any. 0: none says one, or it says several.
int lora_steps(const std::filesystem::path& file);

/// Of a part of a model: its own name, those of the folders around it up to that of the model, and its first file's
/// texts.
bool distilled_part(const ModelParts& parts, Network network);

/// Whether a transformer is, or a LoRA of the request that is on in some step.
bool is_distilled(const Request& request, const ModelParts& parts);

}  // namespace wan
