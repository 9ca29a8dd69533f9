// A tensor of a checkpoint as a weight is made from it: its values, or the codes that its file keeps.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "kernels/dequantise/coded_matrix.h"
#include "models/weights/checkpoint.h"

namespace wan {

using at::Tensor;

/// Values, or a matrix in codes. Copies share the memory.
struct StoredPart {
  /// `in_file`: whether the values are a view of a mapped file (or a drawn tensor in its place), and no copy of it.
  StoredPart(Tensor values, bool in_file = true) : values(std::move(values)), in_file(in_file) {}
  StoredPart(kernels::CodedMatrix codes) : codes(std::move(codes)) {}

  bool is_coded() const { return codes.has_value(); }
  std::vector<int64_t> shape() const;
  at::ScalarType dtype() const { return is_coded() ? at::kFloat : values.scalar_type(); }
  uint64_t bytes() const { return is_coded() ? codes->bytes() : values.nbytes(); }

  Tensor values;                              // undefined where there are codes
  std::optional<kernels::CodedMatrix> codes;  // with their scales
  bool in_file = true;
};

/// A tensor of `from`: in codes where its file has those of whole rows, else its values. Nothing is read but scales.
/// Throws ModelError as Checkpoint::coded.
StoredPart stored_part(const Checkpoint& from, const std::string& name);
/// The same on the meta device, from what a header says.
StoredPart planned_part(const StoredTensor& stored);
/// The same shapes, dtypes and coding on the meta device.
StoredPart planned(const StoredPart& source);

/// The values, codes widened to float32 where they lie.
Tensor values_of(const StoredPart& source, const kernels::Context& context);

/// Memory on `device` for codes and scales like these, not filled.
kernels::CodedMatrix empty_like(const kernels::CodedMatrix& codes, at::Device device);
/// Whether codes and scales of one fit into the memory of the other.
bool is_alike(const kernels::CodedMatrix& a, const kernels::CodedMatrix& b);
/// Writes codes and scales into memory that is_alike.
void copy_codes(kernels::CodedMatrix& to, const kernels::CodedMatrix& from);
/// A copy on `device`.
kernels::CodedMatrix moved(const kernels::CodedMatrix& codes, at::Device device);

}  // namespace wan
