// One tensor of a checkpoint file, as its header describes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/mapped_file.h"

namespace wan {

/// How a format packs a row of elements into blocks of bytes, each with its own scales.
struct Coding {
  std::string_view name;    // as the format calls it: "Q4_K"
  int64_t elements, bytes;  // of one block; rows are whole blocks
  /// The values of `count` blocks one after another, exactly as the format defines them.
  void (*widen)(const uint8_t* blocks, int64_t count, float* values);
};

/// One tensor as a header describes it. Nothing of it has been read.
struct StoredTensor {
  at::ScalarType dtype;  // as Checkpoint::map gives it; kFloat where it is coded
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;            // in elements; row-major for safetensors
  std::shared_ptr<const MappedFile> file;  // null: a name without data, for the meta device
  uint64_t offset = 0;                     // of the first element, in bytes from the start of the file
  const Coding* coding = nullptr;          // null: elements of `dtype` lie in the file as they are

  /// Neither overflows for a tensor that came from a reader: its data lies in the file.
  int64_t elements() const;
  /// Of its elements in the file.
  uint64_t bytes() const;
};

/// The tensors of a file by name.
using StoredTensors = std::map<std::string, StoredTensor>;

/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(at::IntArrayRef shape);

}  // namespace wan
