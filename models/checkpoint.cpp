#include "models/checkpoint.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "models/checkpoint_index.h"
#include "models/error.h"
#include "models/headers.h"

namespace wan {

namespace {

/// From the first to the last element of a view that has some, in elements.
int64_t extent(const StoredTensor& tensor) {
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return last + 1;
}

enum class Format { Safetensors, Torch, Other };

Format format_of(const MappedFile& file) {
  const std::string extension = file.path().extension().string();
  if (extension == ".safetensors") return Format::Safetensors;
  for (const char* torch : {".pth", ".pt", ".bin", ".pkl"}) {
    if (extension == torch) return Format::Torch;
  }
  // A cache may have taken the name away: look at the content.
  const std::string_view bytes = file.bytes();
  if (bytes.size() > 8 && bytes[8] == '{') return Format::Safetensors;
  return bytes.starts_with("PK\x03\x04") || bytes.starts_with("\x80\x02") ? Format::Torch : Format::Other;
}

std::map<std::string, StoredTensor> read_file(const std::shared_ptr<const MappedFile>& file) {
  switch (format_of(*file)) {
    case Format::Safetensors:
      return read_safetensors(file);
    case Format::Torch:
      return read_pth(file);
    default:
      throw ModelError(file->path().string(), "must be a .safetensors file or a torch archive (.pth)");
  }
}

}  // namespace

std::vector<std::string_view> header_of(const std::shared_ptr<const MappedFile>& file) {
  switch (format_of(*file)) {
    case Format::Safetensors:
      return {safetensors_header(*file)};
    case Format::Torch:
      return pth_header(file);
    default:
      return {file->bytes()};
  }
}

int64_t StoredTensor::elements() const {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

uint64_t StoredTensor::bytes() const {
  return static_cast<uint64_t>(elements()) * c10::elementSize(dtype);
}

std::vector<int64_t> row_major_strides(at::IntArrayRef shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  checkpoint.label_ = path.string();
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    checkpoint.files_.push_back(MappedFile::open(path));
    checkpoint.tensors_ = read_file(checkpoint.files_[0]);
    return checkpoint;
  }
  const std::filesystem::path index = path / "diffusion_pytorch_model.safetensors.index.json";
  if (std::filesystem::exists(index, ignored)) {
    ShardedTensors sharded = read_sharded(index);
    checkpoint.files_ = std::move(sharded.files);
    checkpoint.tensors_ = std::move(sharded.tensors);
    return checkpoint;
  }
  for (const char* name : {"diffusion_pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin"}) {
    if (!std::filesystem::exists(path / name, ignored)) continue;
    checkpoint.files_.push_back(MappedFile::open(path / name));
    checkpoint.tensors_ = read_file(checkpoint.files_[0]);
    return checkpoint;
  }
  throw ModelError(path.string(), "must hold diffusion_pytorch_model.safetensors or its .index.json, holds neither");
}

Checkpoint Checkpoint::names_only(std::map<std::string, StoredTensor> tensors, std::string label) {
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

at::Tensor Checkpoint::map(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw ModelError(label_ + ": " + printable(name), "is not there");
  const StoredTensor& stored = found->second;
  const auto options = at::TensorOptions().dtype(stored.dtype);
  if (!stored.file) return at::empty_strided(stored.shape, stored.strides, options.device(at::kMeta));
  if (stored.elements() == 0) return at::empty_strided(stored.shape, stored.strides, options);
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
