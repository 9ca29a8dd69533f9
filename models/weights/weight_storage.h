// What the values of a weight are kept in. A new storage is one alternative here, its memory and filling in
// weight_storage.cpp, its choice in place.cpp and its products in matrix.cpp; layers do not change.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "kernels/linear/int8.h"
#include "models/weights/place.h"
#include "models/weights/stored_part.h"

namespace wan {

/// Values in a float dtype: the mapped tensor of the file or a view of it, or memory of their own.
struct Floats {
  Tensor values;
  bool mapped;
};

/// 8-bit codes of the rotated rows and a scale for each row (kernels/linear/int8.h).
struct Int8Rows {
  kernels::QuantisedRows rows;  // codes [out, in] int8, scale [out] float32
};

/// A matrix that each product widens tile by tile. Its rows are those of the parts one after another, which may be of
/// different codings (Q4_K_M has q and k in Q4_K, v in Q6_K); one without codes beside others is in a float dtype.
struct InCodes {
  std::vector<StoredPart> parts;
  bool mapped;  // views of the file
};

/// A mapped matrix of which each product makes a copy in `form`: that of a whole checkpoint would be a second one in memory.
struct MadeAtUse {
  StoredPart mapped;  // [out, in]
  Form form;          // of the copy
};

using Storage = std::variant<Floats, Int8Rows, InCodes, MadeAtUse>;

/// The tensor that has the device and the dtype of what is stored; of several the first.
const Tensor& stored_tensor(const Storage& storage);
/// Bytes of memory, of whatever device; 0 for a mapped tensor.
uint64_t bytes_of(const Storage& storage);

/// Every tensor that it lies in, in a fixed order: values; codes and scales; those of one part after another.
std::vector<Tensor> tensors_of(const Storage& storage);
/// The same weight in other memory: `memory` has one tensor for each of tensors_of, alike in shape and dtype.
Storage in_memory(const Storage& like, std::span<const Tensor> memory);

/// Memory on meta for a copy in this form of the parts, joined by rows: their shapes, dtypes and coding.
Storage planned_copy(const std::vector<StoredPart>& parts, Form form);

/// What fills some of the memory of a weight, as it lies on the host.
struct HostPart {
  /// Where the bytes of one of the host's tensors go: behind `offset` bytes of tensor number `tensor` of tensors_of.
  struct Target {
    size_t tensor;
    uint64_t offset;
  };
  std::vector<Target> to;       // one for each tensor of the host
  std::vector<Tensor> in_file;  // contiguous views of a file that has them in the very form; else empty
  /// Else makes them, contiguous, in memory of their own. Any thread may call it, any number of times.
  std::function<std::vector<Tensor>()> make;
  uint64_t bytes;  // of all of them
};
/// What fills a copy in this form of the parts, joined by rows: all of its bytes. `context` must outlive the result.
std::vector<HostPart> host_parts(const Form& form, const std::vector<StoredPart>& parts,
                                 const kernels::Context& context);

/// A copy in this form of the parts, joined by rows. On meta nothing is read.
Storage copy_of(const std::vector<StoredPart>& parts, const Form& form, const kernels::Context& context);
/// Writes such a copy into the memory of another one in this form. A part that keeps the file's codes and comes in another
/// coding gets new memory in place of the old.
void fill(Storage& storage, const Form& form, const std::vector<StoredPart>& parts, const kernels::Context& context);
/// A copy of `values` in the dtype of this form, without codes.
Tensor copy(const Tensor& values, const Form& form);

}  // namespace wan
