#include "models/weights/checkpoint.h"

#include <algorithm>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/format.h"
#include "models/weights/format/layout.h"
#include "models/weights/format/shards.h"
#include "models/weights/quantised/join_scales.h"
#include "models/weights/quantised/one_network.h"

namespace wan {

namespace {

/// The tensors of one file as they lie in it.
ShardedTensors read_single(const std::filesystem::path& path) {
  ShardedTensors read;
  read.files.push_back(MappedFile::open(path));
  read.tensors = read_tensors(read.files[0]);
  return read;
}

[[noreturn]] void refuse_without_weights(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  if (error)
    throw ModelError(folder.string(), "must be a folder that can be listed: " + error.message() +
                                          "; give yourself the right to read it (chmod u+rX)");
  const std::string unfinished = unfinished_download(folder / "diffusion_pytorch_model.safetensors");
  throw ModelError(folder.string(), "must hold diffusion_pytorch_model.safetensors or its .index.json, holds neither" +
                                        (unfinished.empty() ? "; name the folder or the file of a network"
                                                            : "; its download is unfinished: " + unfinished));
}

ShardedTensors read_folder(const std::filesystem::path& folder) {
  const CheckpointLayout layout = checkpoint_layout(folder);
  if (layout.weights.empty()) refuse_without_weights(folder);
  if (!layout.index.empty()) return read_sharded(layout.index);
  return layout.weights.size() > 1 ? read_shards(layout.weights) : read_single(layout.weights[0]);
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  ShardedTensors raw = is_folder ? read_folder(path) : read_single(path);
  Checkpoint checkpoint;
  checkpoint.label_ = path.string();
  checkpoint.files_ = std::move(raw.files);
  OneNetwork network = one_network(std::move(raw.tensors), checkpoint.label_);
  checkpoint.left_out_ = std::move(network.left_out);
  CheckpointFacts facts{.metadata = {},
                        .folder = is_folder ? path : std::filesystem::path(),
                        .prefix = network.prefix,
                        .is_whole = checkpoint.left_out_.empty()};
  for (const auto& file : checkpoint.files_) facts.metadata.push_back(metadata_of(file));
  checkpoint.tensors_ = join_scales(std::move(network.tensors), facts, checkpoint.label_);
  return checkpoint;
}

std::vector<std::filesystem::path> Checkpoint::paths(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return {path};
  CheckpointLayout layout = checkpoint_layout(path);
  if (!layout.index.empty()) layout.weights.push_back(layout.index);
  return std::move(layout.weights);
}

Checkpoint Checkpoint::renamed(StoredTensors tensors) const {
  Checkpoint checkpoint = *this;
  checkpoint.tensors_ = std::move(tensors);
  return checkpoint;
}

Checkpoint Checkpoint::names_only(StoredTensors tensors, std::string label) {
  Checkpoint checkpoint;
  checkpoint.tensors_ = std::move(tensors);
  checkpoint.label_ = std::move(label);
  return checkpoint;
}

uint64_t Checkpoint::bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, tensor] : tensors_) {
    sum += tensor.bytes();
    if (tensor.scales && tensor.scales->blocks) sum += tensor.scales->blocks->bytes();
  }
  return sum;
}

bool Checkpoint::is_coded() const {
  return std::any_of(tensors_.begin(), tensors_.end(), [](const auto& entry) { return entry.second.coding; });
}

const StoredTensor& Checkpoint::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw ModelError(label_ + ": " + printable(name), "is not there");
  return found->second;
}

}  // namespace wan
