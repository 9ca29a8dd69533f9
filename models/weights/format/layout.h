// Which files of a folder hold its network. Whatever else lies there does not count.
#pragma once

#include <filesystem>
#include <vector>

namespace wan {

/// The files of one network, of which none may be there.
struct CheckpointLayout {
  std::filesystem::path index;                 // empty where there is none; then `weights` are what it names
  std::vector<std::filesystem::path> weights;  // by name; empty: the folder holds no network
};

/// Looks into `folder`, in this order: the index of diffusion_pytorch_model.safetensors or that file, the index of
/// model.safetensors or that file, pytorch_model.bin, shards without an index (NAME-00001-of-00002.safetensors), the
/// only .safetensors file, the only .gguf file. Hidden files do not count. Throws ModelError for a broken index, for
/// shards that are incomplete and where several files could be meant.
CheckpointLayout checkpoint_layout(const std::filesystem::path& folder);

/// Whether `folder` is one of a network: one of those names, shards, or its config.json beside the only .safetensors
/// or .gguf file. Reads nothing.
bool holds_checkpoint(const std::filesystem::path& folder);

/// Whether a file is hidden or one of a family of shards, so that it is no network of its own.
bool is_hidden(const std::filesystem::path& file);
bool is_shard(const std::filesystem::path& file);

}  // namespace wan
