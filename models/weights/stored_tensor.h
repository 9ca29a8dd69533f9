// One tensor of a checkpoint file, as its header describes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/dequantise/coding.h"
#include "models/files/mapped_file.h"

namespace wan {

struct StoredScales;

/// One tensor as a header describes it. Nothing of it has been read.
struct StoredTensor {
  at::ScalarType dtype;  // as Checkpoint::map gives it; kFloat where it is coded
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;                          // in elements; row-major for safetensors
  std::shared_ptr<const MappedFile> file;                // null: a name without data, for the meta device
  uint64_t offset = 0;                                   // of the first element, in bytes from the start of the file
  const kernels::Coding* coding = nullptr;               // null: elements of `dtype` lie in the file as they are
  std::shared_ptr<const StoredScales> scales = nullptr;  // of a coded tensor whose scales are tensors of their own

  /// Neither overflows for a tensor that came from a reader: its data lies in the file.
  int64_t elements() const;
  /// Of its elements in the file, without scales.
  uint64_t bytes() const;
};

/// What multiplies the codes of a matrix (kernels/dequantise/coded_matrix.h).
struct StoredScales {
  /// In which order the scales of blocks lie in the file.
  enum class Order {
    Rows,
    /// As Blackwell's tensor cores read them: rows padded to 128 and columns to 4, and of each tile of 128 x 4 the rows
    /// 0, 32, 64 and 96 side by side, then 1, 33, ... ; scales of padding count for nothing.
    Tiles,
  };
  /// Scales of parts of the matrix: floats, E4M3 or E8M0, or U8 that is one of these two (`dtype` says which).
  std::optional<StoredTensor> blocks;
  Order order = Order::Rows;
  int64_t rows = 1, columns = 1;  // of the matrix that one scale covers
  float factor = 1;               // of the whole matrix
  int64_t rotation = 0;           // order of the regular Hadamard matrix by which groups of a row were multiplied, or 0
};

/// The tensors of a file by name.
using StoredTensors = std::map<std::string, StoredTensor>;

/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(at::IntArrayRef shape);

}  // namespace wan
