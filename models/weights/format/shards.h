// Checkpoints in several files, with an index (diffusion_pytorch_model.safetensors.index.json) or without one.
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
/// The files that an index names, in the order of their names. Reads the index alone. Throws ModelError.
std::vector<std::filesystem::path> shards_of(const std::filesystem::path& index);
/// Reads the headers of shards that no index describes. Throws ModelError where two of them hold a tensor of one name.
ShardedTensors read_shards(const std::vector<std::filesystem::path>& shards);

}  // namespace wan
