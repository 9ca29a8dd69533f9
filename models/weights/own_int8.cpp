#include "models/weights/own_int8.h"

#include <ATen/ATen.h>

namespace wan {

std::optional<kernels::QuantisedRows> own_int8(const StoredPart& part) {
  if (!part.is_coded() || part.codes->coding->code != kernels::Code::Int8) return {};
  const kernels::CodedMatrix& matrix = *part.codes;
  if (!kernels::is_own_rotation(matrix.rotation, matrix.columns)) return {};
  const Tensor codes = matrix.codes.view(at::kChar), &scale = matrix.scale;
  // A scale of one value is the factor (models/weights/quantised/scales.h).
  if (!scale.defined()) return {{codes, at::full({matrix.rows()}, matrix.factor, codes.options().dtype(at::kFloat))}};
  const bool by_rows = matrix.scale_rows == 1 || scale.size(0) == 1;
  if (scale.scalar_type() != at::kFloat || scale.size(1) != 1 || !by_rows || matrix.factor != 1) return {};
  return {{codes, scale.flatten().expand({matrix.rows()}).contiguous()}};
}

}  // namespace wan
