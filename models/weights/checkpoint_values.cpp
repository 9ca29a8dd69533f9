// The values of a checkpoint's tensors. Apart from checkpoint.cpp, so that a program that looks at headers alone is linked
// without libtorch.
#include <ATen/ATen.h>

#include <cstring>
#include <stdexcept>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"

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

}  // namespace

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

}  // namespace wan
