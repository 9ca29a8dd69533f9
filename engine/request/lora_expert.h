// Which expert a LoRA is for, told without the model. No tensors.
#pragma once

#include <filesystem>
#include <optional>

#include "engine/request/lora_scales.h"
#include "engine/request/request.h"

namespace wan {

struct Experts {
  bool high = false, low = false;

  bool has(const Step& step) const { return step.high ? high : low; }
};

/// Under which prefixes a file of diffusers has keys: "transformer." (high) and "transformer_2." (low). Reads the
/// header of a safetensors file; of any other file, and of one that cannot be read, neither.
Experts keyed_experts(const std::filesystem::path& path);

/// What @ says; else keys, where `keys` has those of the low-noise expert; else the name of the file or of its folder.
/// Nothing where none of them tells it. Not for speech, which has one transformer.
std::optional<Experts> told_experts(const Lora& lora, const Experts& keys);
/// The same. Throws InvalidRequest (field "loras") where none of them tells it.
Experts experts_of(const Lora& lora, const Experts& keys);

/// Throws InvalidRequest (field "loras") for more scales than `transformer` ("high-noise expert") makes steps.
void check_scales(const Lora& lora, const LoraScales& scales, bool high, const char* transformer);

}  // namespace wan
