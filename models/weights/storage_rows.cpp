#include "models/weights/storage_rows.h"

#include <ATen/ATen.h>

#include <stdexcept>

namespace wan {
namespace {

[[noreturn]] void refuse(int64_t first) {
  throw std::logic_error("[weight] has no rows of their own from row " + std::to_string(first) + " on");
}

StoredPart rows_of(const StoredPart& part, int64_t first, int64_t count) {
  if (first == 0 && count == part.shape().at(0)) return part;
  if (!part.is_coded()) return StoredPart(part.values.narrow(0, first, count), part.in_file);
  kernels::CodedMatrix matrix = *part.codes;
  matrix.codes = matrix.codes.narrow(0, first, count);
  if (matrix.scale.defined() && matrix.scale.size(0) > 1) {
    const int64_t each = matrix.scale_rows;
    if (first % each != 0) refuse(first);
    matrix.scale = matrix.scale.narrow(0, first / each, (count + each - 1) / each);
  }
  return StoredPart(std::move(matrix));
}

struct Rows {
  int64_t first, count;

  Storage operator()(const Floats& floats) const {
    return Floats{floats.values.narrow(0, first, count), floats.mapped};
  }
  Storage operator()(const Int8Rows& int8) const {
    return Int8Rows{{int8.rows.codes.narrow(0, first, count), int8.rows.scale.narrow(0, first, count)}};
  }
  Storage operator()(const InCodes& codes) const {
    int64_t row = first;
    for (const StoredPart& part : codes.parts) {
      const int64_t rows = part.shape().at(0);
      if (row + count <= rows) return InCodes{{rows_of(part, row, count)}, codes.mapped};
      if (row < rows) refuse(first);
      row -= rows;
    }
    refuse(first);
  }
  Storage operator()(const MadeAtUse& made) const { return MadeAtUse{rows_of(made.mapped, first, count), made.form}; }
};

}  // namespace

Storage rows_of(const Storage& storage, int64_t first, int64_t count) {
  return std::visit(Rows{first, count}, storage);
}

}  // namespace wan
