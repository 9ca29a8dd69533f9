// Folders that NVIDIA's Model Optimizer wrote: what their JSON says of the quantisation.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace wan {

/// The words for the ways in which layers are quantised ("FP8", "NVFP4"), of hf_quant_config.json or of the
/// quantization_config of config.json; empty for a folder of another program. Throws ModelError for a broken file and
/// for ways that are not read. Source: modelopt/torch/export.
std::set<std::string> modelopt_ways(const std::filesystem::path& folder);

}  // namespace wan
