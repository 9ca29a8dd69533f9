#include "models/weights/stored_part.h"

#include <ATen/ATen.h>

namespace wan {
namespace {

at::TensorOptions meta(at::ScalarType dtype) {
  return at::TensorOptions(at::kMeta).dtype(dtype);
}

/// Of a tensor that Checkpoint::coded gives in codes; else null.
const kernels::Coding* coding_of(const StoredTensor& stored) {
  const kernels::Coding* coding = stored.coding;
  if (stored.dtype == at::kFloat8_e4m3fn) coding = &kernels::coding_of(kernels::Code::E4M3);
  if (stored.dtype == at::kFloat8_e5m2) coding = &kernels::coding_of(kernels::Code::E5M2);
  if (!coding || stored.shape.size() != 2 || stored.elements() == 0 || stored.shape[1] % coding->elements != 0 ||
      stored.strides != row_major_strides(stored.shape))
    return nullptr;
  return coding;
}

kernels::CodedMatrix planned_codes(const StoredTensor& stored, const kernels::Coding& coding) {
  const int64_t rows = stored.shape[0], columns = stored.shape[1];
  kernels::CodedMatrix matrix{.coding = &coding,
                              .columns = columns,
                              .codes = at::empty({rows, columns / coding.elements * coding.bytes}, meta(at::kByte))};
  if (!stored.scales) return matrix;
  const StoredScales& scales = *stored.scales;
  matrix.factor = scales.factor;
  matrix.rotation = scales.rotation;
  if (!scales.blocks) return matrix;
  matrix.scale_rows = scales.rows;
  matrix.scale_columns = scales.columns;
  const bool bytes = c10::elementSize(scales.blocks->dtype) == 1;
  matrix.scale = at::empty({(rows + scales.rows - 1) / scales.rows, (columns + scales.columns - 1) / scales.columns},
                           meta(bytes ? scales.blocks->dtype : at::kFloat));
  return matrix;
}

}  // namespace

std::vector<int64_t> StoredPart::shape() const {
  return is_coded() ? std::vector<int64_t>{codes->rows(), codes->columns} : values.sizes().vec();
}

StoredPart stored_part(const Checkpoint& from, const std::string& name) {
  if (auto codes = from.coded(name)) return StoredPart(*std::move(codes));
  const Tensor values = from.map(name);
  return StoredPart(values, /*in_file=*/!from.tensors().at(name).coding);
}

StoredPart planned_part(const StoredTensor& stored) {
  if (const kernels::Coding* coding = coding_of(stored)) return StoredPart(planned_codes(stored, *coding));
  return StoredPart(at::empty_strided(stored.shape, stored.strides, meta(stored.dtype)), /*in_file=*/!stored.coding);
}

StoredPart planned(const StoredPart& source) {
  if (source.is_coded()) return StoredPart(empty_like(*source.codes, at::kMeta));
  const Tensor& values = source.values;
  return StoredPart(at::empty_strided(values.sizes(), values.strides(), meta(values.scalar_type())), source.in_file);
}

Tensor values_of(const StoredPart& source, const kernels::Context& context) {
  return source.is_coded() ? kernels::widen(*source.codes, 0, source.codes->rows(), at::kFloat, context)
                           : source.values;
}

kernels::CodedMatrix empty_like(const kernels::CodedMatrix& codes, at::Device device) {
  kernels::CodedMatrix like = codes;
  like.codes = at::empty(codes.codes.sizes(), codes.codes.options().device(device));
  if (codes.scale.defined()) like.scale = at::empty(codes.scale.sizes(), codes.scale.options().device(device));
  return like;
}

bool is_alike(const kernels::CodedMatrix& a, const kernels::CodedMatrix& b) {
  if (a.coding != b.coding || a.codes.sizes() != b.codes.sizes() || a.scale.defined() != b.scale.defined())
    return false;
  return !a.scale.defined() || (a.scale.sizes() == b.scale.sizes() && a.scale.scalar_type() == b.scale.scalar_type());
}

void copy_codes(kernels::CodedMatrix& to, const kernels::CodedMatrix& from) {
  to.codes.copy_(from.codes);
  if (from.scale.defined()) to.scale.copy_(from.scale);
  kernels::CodedMatrix next = from;
  next.codes = to.codes;
  next.scale = to.scale;
  to = next;
}

kernels::CodedMatrix moved(const kernels::CodedMatrix& codes, at::Device device) {
  kernels::CodedMatrix copy = empty_like(codes, device);
  copy_codes(copy, codes);
  return copy;
}

}  // namespace wan
