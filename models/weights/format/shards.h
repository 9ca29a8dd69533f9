// The index of a checkpoint in several files: diffusion_pytorch_model.safetensors.index.json.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// What an index and its shards hold together.
struct ShardedTensors {
  std::vector<std::shared_ptr<const MappedFile>> files;  // by name
  StoredTensors tensors;
};

/// Reads `{"weight_map": {tensor: file}}` and the headers of all files it names, which must be bare names beside it.
/// Throws ModelError where a file is missing or where index and files do not name exactly the same tensors.
ShardedTensors read_sharded(const std::filesystem::path& index);

}  // namespace wan
