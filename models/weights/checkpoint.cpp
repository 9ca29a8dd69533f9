#include "models/weights/checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/format.h"
#include "models/weights/format/layout.h"
#include "models/weights/format/shards.h"

namespace wan {

namespace {

/// From the first to the last element of a view that has some, in elements.
int64_t extent(const StoredTensor& tensor) {
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return last + 1;
}

/// The values of a coded tensor, by all threads.
at::Tensor widened(const StoredTensor& stored) {
  constexpr int64_t kPieceElements = 1 << 16;
  const Coding& coding = *stored.coding;
  const at::Tensor values = at::empty(stored.shape, at::TensorOptions().dtype(at::kFloat));
  const auto* blocks = reinterpret_cast<const uint8_t*>(stored.file->bytes().data() + stored.offset);
  float* to = values.mutable_data_ptr<float>();
  at::parallel_for(0, stored.elements() / coding.elements, kPieceElements / coding.elements,
                   [&](int64_t begin, int64_t end) {
                     coding.widen(blocks + begin * coding.bytes, end - begin, to + begin * coding.elements);
                   });
  return values;
}

[[noreturn]] void refuse_without_weights(const std::filesystem::path& folder) {
  const std::string unfinished = unfinished_download(folder / "diffusion_pytorch_model.safetensors");
  throw ModelError(folder.string(), "must hold diffusion_pytorch_model.safetensors or its .index.json, holds neither" +
                                        (unfinished.empty() ? "" : "; its download is unfinished: " + unfinished));
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  checkpoint.label_ = path.string();
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    checkpoint.files_.push_back(MappedFile::open(path));
    checkpoint.tensors_ = read_tensors(checkpoint.files_[0]);
    return checkpoint;
  }
  const CheckpointLayout layout = checkpoint_layout(path);
  if (layout.weights.empty()) refuse_without_weights(path);
  if (!layout.index.empty() || layout.weights.size() > 1) {
    ShardedTensors sharded = layout.index.empty() ? read_shards(layout.weights) : read_sharded(layout.index);
    checkpoint.files_ = std::move(sharded.files);
    checkpoint.tensors_ = std::move(sharded.tensors);
    return checkpoint;
  }
  checkpoint.files_.push_back(MappedFile::open(layout.weights[0]));
  checkpoint.tensors_ = read_tensors(checkpoint.files_[0]);
  return checkpoint;
}

std::vector<std::filesystem::path> Checkpoint::paths(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return {path};
  CheckpointLayout layout = checkpoint_layout(path);
  if (!layout.index.empty()) layout.weights.push_back(layout.index);
  return std::move(layout.weights);
}

Checkpoint Checkpoint::names_only(StoredTensors tensors, std::string label) {
  Checkpoint checkpoint;
  checkpoint.tensors_ = std::move(tensors);
  checkpoint.label_ = std::move(label);
  return checkpoint;
}

uint64_t Checkpoint::bytes() const {
  uint64_t sum = 0;
  for (const auto& entry : tensors_) sum += entry.second.bytes();
  return sum;
}

bool Checkpoint::is_coded() const {
  return std::any_of(tensors_.begin(), tensors_.end(), [](const auto& entry) { return entry.second.coding; });
}

at::Tensor Checkpoint::map(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw ModelError(label_ + ": " + printable(name), "is not there");
  const StoredTensor& stored = found->second;
  const auto options = at::TensorOptions().dtype(stored.dtype);
  if (!stored.file) return at::empty_strided(stored.shape, stored.strides, options.device(at::kMeta));
  if (stored.elements() == 0) return at::empty_strided(stored.shape, stored.strides, options);
  if (stored.coding) return widened(stored);
  const char* data = stored.file->bytes().data() + stored.offset;
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(stored.dtype) == 0) {
    return at::from_blob(
        const_cast<char*>(data), stored.shape, stored.strides, [file = stored.file](void*) {}, options);
  }
  const at::Tensor aligned = at::empty({extent(stored)}, options);
  std::memcpy(aligned.mutable_data_ptr(), data, aligned.nbytes());
  return aligned.as_strided(stored.shape, stored.strides);
}

}  // namespace wan
