// What the values of a weight are kept in. A new storage is one alternative here, its memory and filling in
// weight_storage.cpp, its choice in place.cpp and its products in matrix.cpp; layers do not change.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <variant>

#include "kernels/linear/int8.h"
#include "models/weights/place.h"

namespace wan {

using at::Tensor;

/// Values in a float dtype: the mapped tensor of the file or a view of it, or memory of their own.
struct Floats {
  Tensor values;
  bool mapped;
};

/// 8-bit codes of the rotated rows and a scale for each row (kernels/linear/int8.h).
struct Int8Rows {
  kernels::QuantisedRows rows;  // codes [out, in] int8, scale [out] float32
};

/// A mapped matrix whose rows are coded at each use: the codes of a whole checkpoint would be a copy of it in memory.
struct Int8AtUse {
  Tensor mapped;  // [out, in]
};

using Storage = std::variant<Floats, Int8Rows, Int8AtUse>;

/// The tensor that has the shape, the device and the dtype of what is stored.
const Tensor& stored_tensor(const Storage& storage);
/// Bytes of memory, of whatever device; 0 for a mapped tensor.
uint64_t bytes_of(const Storage& storage);

/// Memory for a copy of `shape` in this form, not filled.
Storage allocate(const Form& form, at::IntArrayRef shape);
/// Converts `values` and writes them into the rows from `first_row` on of a copy in this form. Nothing on meta.
void fill(Storage& storage, const Form& form, int64_t first_row, const Tensor& values, const kernels::Context& context);
/// A copy of `values` in this form, without codes.
Tensor copy(const Tensor& values, const Form& form);

}  // namespace wan
