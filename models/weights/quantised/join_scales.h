// Weights in codes from checkpoints in which codes and scales are tensors of their own.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// What lies around the tensors of a checkpoint.
struct CheckpointFacts {
  std::vector<std::map<std::string, std::string>> metadata;  // of each file
  std::filesystem::path folder;                              // empty for a single file
  std::string prefix;    // that was taken from the names of tensors, and that layers in the metadata may bear
  bool is_whole = true;  // false: other networks, of which the metadata may speak, were left out
};

/// Folds into each weight what lies beside it: the tensors of a whole checkpoint without scales and markers, each
/// quantised weight with its logical shape, dtype kFloat, `coding` and `scales`. Layouts: plain fp8; ComfyUI's
/// (scale_weight with scaled_fp8; weight_scale with comfy_quant or _quantization_metadata: fp8, int8 with rotation,
/// MXFP8, NVFP4); Kijai's; musubi-tuner's; LightX2V's (fp8, int8, NVFP4); quanto's int8; NVIDIA Model Optimizer's FP8
/// and NVFP4. Reads scalar scales and markers alone. Throws ModelError about `label` and the tensor where what is there
/// does not make a weight, or could be meant in two ways.
StoredTensors join_scales(StoredTensors tensors, const CheckpointFacts& facts, const std::string& label);

}  // namespace wan
