#include "models/weights/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/format.h"
#include "models/weights/format/layout.h"
#include "models/weights/format/shards.h"
#include "models/weights/quantised/join_scales.h"
#include "models/weights/quantised/one_network.h"

namespace wan {

namespace {

/// From the first to the last element of a view that has some, in elements.
int64_t extent(const StoredTensor& tensor) {
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return last + 1;
}

/// A tensor as it lies in the file: a view of the mapping, or a copy where it is not aligned to its elements.
at::Tensor as_it_lies(const StoredTensor& stored) {
  const auto options = at::TensorOptions().dtype(stored.dtype);
  const char* data = stored.file->bytes().data() + stored.offset;
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(stored.dtype) == 0) {
    return at::from_blob(
        const_cast<char*>(data), stored.shape, stored.strides, [file = stored.file](void*) {}, options);
  }
  const at::Tensor aligned = at::empty({extent(stored)}, options);
  std::memcpy(aligned.mutable_data_ptr(), data, aligned.nbytes());
  return aligned.as_strided(stored.shape, stored.strides);
}

/// Scales in tiles of 128 x 4 (StoredScales::Order::Tiles), as bytes, row by row without padding.
at::Tensor untiled(const at::Tensor& stored, int64_t rows, int64_t columns) {
  const int64_t tiles = (rows + 127) / 128, widths = (columns + 3) / 4;
  return stored.reshape({tiles, widths, 32, 4, 4})
      .permute({0, 3, 2, 1, 4})
      .reshape({tiles * 128, widths * 4})
      .narrow(0, 0, rows)
      .narrow(1, 0, columns)
      .contiguous();
}

void add_scales(kernels::CodedMatrix& matrix, const StoredScales& scales) {
  matrix.factor = scales.factor;
  matrix.rotation = scales.rotation;
  if (!scales.blocks) return;
  matrix.scale_rows = scales.rows;
  matrix.scale_columns = scales.columns;
  const int64_t rows = (matrix.rows() + scales.rows - 1) / scales.rows;
  const int64_t columns = (matrix.columns + scales.columns - 1) / scales.columns;
  at::Tensor scale = as_it_lies(*scales.blocks);
  const bool bytes = c10::elementSize(scales.blocks->dtype) == 1;
  if (scales.order == StoredScales::Order::Tiles)
    scale = untiled(scale.view(at::kByte), rows, columns).view(scales.blocks->dtype);
  else
    scale = scale.reshape({rows, columns}).contiguous();
  matrix.scale = bytes ? scale : scale.to(at::kFloat);
}

/// Of elements that torch has a type for and that are codes all the same: they want a scale or widening.
const kernels::Coding* coding_of(at::ScalarType dtype) {
  if (dtype == at::kFloat8_e4m3fn) return &kernels::coding_of(kernels::Code::E4M3);
  if (dtype == at::kFloat8_e5m2) return &kernels::coding_of(kernels::Code::E5M2);
  return nullptr;
}

/// The tensors of one file as they lie in it.
ShardedTensors read_single(const std::filesystem::path& path) {
  ShardedTensors read;
  read.files.push_back(MappedFile::open(path));
  read.tensors = read_tensors(read.files[0]);
  return read;
}

[[noreturn]] void refuse_without_weights(const std::filesystem::path& folder) {
  const std::string unfinished = unfinished_download(folder / "diffusion_pytorch_model.safetensors");
  throw ModelError(folder.string(), "must hold diffusion_pytorch_model.safetensors or its .index.json, holds neither" +
                                        (unfinished.empty() ? "" : "; its download is unfinished: " + unfinished));
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

at::Tensor Checkpoint::map(const std::string& name) const {
  const StoredTensor& stored = find(name);
  const auto options = at::TensorOptions().dtype(stored.dtype);
  if (!stored.file) return at::empty_strided(stored.shape, stored.strides, options.device(at::kMeta));
  if (stored.elements() == 0) return at::empty_strided(stored.shape, stored.strides, options);
  if (!stored.coding) return as_it_lies(stored);
  if (const auto matrix = coded(name)) return kernels::reference::widen(*matrix, 0, matrix->rows(), at::kFloat);
  // No matrix: scales are of what its first axis has; without any, blocks may go over the ends of rows.
  const int64_t rows = stored.scales ? stored.shape[0] : 1;
  return kernels::reference::widen(matrix_of(name, *stored.coding, rows), 0, rows, at::kFloat).view(stored.shape);
}

std::optional<kernels::CodedMatrix> Checkpoint::coded(const std::string& name) const {
  const StoredTensor& stored = find(name);
  const kernels::Coding* coding = stored.coding ? stored.coding : coding_of(stored.dtype);
  if (!coding || stored.shape.size() != 2 || stored.elements() == 0 || stored.shape[1] % coding->elements != 0 ||
      stored.strides != row_major_strides(stored.shape))
    return std::nullopt;
  return matrix_of(name, *coding, stored.shape[0]);
}

kernels::CodedMatrix Checkpoint::matrix_of(const std::string& name, const kernels::Coding& coding, int64_t rows) const {
  const StoredTensor& stored = find(name);
  if (!stored.file) throw std::logic_error("[" + name + "] has no data");
  const int64_t columns = stored.elements() / rows, row = columns / coding.elements * coding.bytes;
  const StoredTensor bytes{at::kByte, {rows, row}, {row, 1}, stored.file, stored.offset};
  kernels::CodedMatrix matrix{.coding = &coding, .columns = columns, .codes = as_it_lies(bytes)};
  if (stored.scales) add_scales(matrix, *stored.scales);
  if (matrix.scale.defined() && !matrix.scale.to(at::kFloat).isfinite().all().item<bool>())
    throw ModelError(label_ + ": " + printable(name),
                     "must have finite scales, has some that are not; do not use this file");
  return matrix;
}

const StoredTensor& Checkpoint::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw ModelError(label_ + ": " + printable(name), "is not there");
  return found->second;
}

}  // namespace wan
