// One tensor of a checkpoint file, as its header describes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/files/mapped_file.h"

namespace wan {

/// One tensor as a header describes it. Nothing of it has been read.
struct StoredTensor {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;            // in elements; row-major for safetensors
  std::shared_ptr<const MappedFile> file;  // null: a name without data, for the meta device
  uint64_t offset = 0;                     // of the first element, in bytes from the start of the file

  /// Neither overflows for a tensor that came from a reader: its data lies in the file.
  int64_t elements() const;
  uint64_t bytes() const;
};

/// The tensors of a file by name.
using StoredTensors = std::map<std::string, StoredTensor>;

/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(at::IntArrayRef shape);

}  // namespace wan
