// Looking into the names and shapes of a checkpoint's tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/weights/stored_tensor.h"

namespace wan::names {

/// The size of one axis of a tensor; 0 where tensor or axis are absent.
int64_t axis(const StoredTensors& tensors, const std::string& name, size_t index);
/// Whether there is a tensor `path`, or one whose name begins with `path` and a ".".
bool has(const StoredTensors& tensors, std::string_view path);
/// How many of `path`.0, `path`.1, ... there are without a gap.
int64_t count(const StoredTensors& tensors, std::string_view path);

/// Gives a tensor leading axes of size 1 until it has `rank` of them. Its elements stay where they are.
void add_leading_ones(StoredTensor& tensor, size_t rank);
/// Splits the first axis of a tensor into `size` and the rest. `size` divides it.
void split_first_axis(StoredTensor& tensor, int64_t size);

}  // namespace wan::names
