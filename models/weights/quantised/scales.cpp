#include "models/weights/quantised/scales.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "models/files/bytes.h"
#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/shape_text.h"

namespace wan {
namespace {

constexpr int64_t kBlock = 128;  // of a grid of blocks

int64_t parts(int64_t size, int64_t part) {
  return (size + part - 1) / part;
}

[[noreturn]] void refuse(const std::string& label, const std::string& name, const std::string& what) {
  throw ModelError(label + ": " + printable(name), what);
}

bool is_float(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
}

void check_float(const NamedTensor& scale, const std::string& label) {
  if (!is_float(scale.tensor.dtype) || scale.tensor.coding)
    refuse(label, scale.name,
           "must be a scale in F32, F16 or BF16, is in " + std::string(dtype_name(scale.tensor.dtype)) +
               "; scales in 8 bits are read where comfy_quant or _quantization_metadata says mxfp8 or nvfp4");
}

/// What one scale covers.
struct Cover {
  int64_t rows, columns;
};

/// What scales of more than one value cover, by their shape; nothing for one that does not fit, or fits in two ways.
std::optional<Cover> cover_of(const std::vector<int64_t>& shape, const ScaledMatrix& matrix) {
  const size_t axes = shape.size();
  if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size < 1; })) return {};
  const bool of_rows = axes <= 2 || (axes == 3 && shape[2] == 1);
  const bool of_grid = axes == 2 || (axes == 4 && shape[1] == 1 && shape[3] == 1);
  const int64_t across = axes == 1 ? 1 : shape[axes == 4 ? 2 : 1];
  const bool rows = of_rows && shape[0] == matrix.rows && matrix.columns % across == 0;
  const bool grid = of_grid && shape[0] == parts(matrix.rows, kBlock) && across == parts(matrix.columns, kBlock);
  if (rows && grid && matrix.columns != across * kBlock) return {};  // one row: equal parts, or blocks and a rest
  if (rows) return Cover{1, matrix.columns / across};
  if (grid) return Cover{kBlock, kBlock};
  return {};
}

}  // namespace

bool is_row_major(const StoredTensor& tensor) {
  int64_t want = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != want) return false;
    want *= tensor.shape[i];
  }
  return true;
}

float read_scale(const NamedTensor& scale, const std::string& label) {
  check_float(scale, label);
  if (scale.tensor.elements() != 1)
    refuse(label, scale.name,
           "must be a scale of one value, has shape " + shape_text(scale.tensor.shape) +
               "; take a file of another quantisation");
  ByteReader bytes(scale.tensor.file->bytes().substr(scale.tensor.offset), label);
  const float value = scale.tensor.dtype == at::kFloat ? bytes.number<float>()
                      : scale.tensor.dtype == at::kHalf
                          ? float(c10::Half(bytes.number<uint16_t>(), c10::Half::from_bits()))
                          : float(c10::BFloat16(bytes.number<uint16_t>(), c10::BFloat16::from_bits()));
  if (!std::isfinite(value) || value <= 0)
    refuse(label, scale.name, "must be a scale above zero, is " + std::to_string(value) + "; do not use this file");
  return value;
}

StoredScales float_scales(const NamedTensor& scale, const ScaledMatrix& matrix, const std::string& label) {
  check_float(scale, label);
  StoredScales scales;
  if (scale.tensor.elements() == 1) {
    scales.factor = read_scale(scale, label);
    return scales;
  }
  const std::optional<Cover> cover = cover_of(scale.tensor.shape, matrix);
  if (!cover || !is_row_major(scale.tensor))
    refuse(label, scale.name,
           "must be a scale of the matrix [" + std::to_string(matrix.rows) + ", " + std::to_string(matrix.columns) +
               "], of its rows, of equal parts of its rows or of blocks of 128 x 128, has shape " +
               shape_text(scale.tensor.shape) + "; do not use this file");
  scales.blocks = scale.tensor;
  scales.blocks->strides = row_major_strides(scales.blocks->shape);
  scales.rows = cover->rows;
  scales.columns = cover->columns;
  return scales;
}

StoredScales block_scales(const NamedTensor& scale, const ScaledMatrix& matrix, at::ScalarType dtype, int64_t columns,
                          StoredScales::Order order, const std::string& label) {
  if (scale.tensor.dtype != dtype && scale.tensor.dtype != at::kByte)
    refuse(label, scale.name,
           "must be scales in " + std::string(dtype_name(dtype)) + " or U8, are in " +
               std::string(dtype_name(scale.tensor.dtype)) + "; do not use this file");
  std::vector<int64_t> want = {matrix.rows, matrix.columns / columns};
  if (order == StoredScales::Order::Tiles) want = {parts(want[0], 128) * 128, parts(want[1], 4) * 4};
  if (scale.tensor.shape != want || !is_row_major(scale.tensor))
    refuse(label, scale.name,
           "must have shape " + shape_text(want) + " for the matrix [" + std::to_string(matrix.rows) + ", " +
               std::to_string(matrix.columns) + "], has " + shape_text(scale.tensor.shape) + "; do not use this file");
  StoredScales scales;
  scales.blocks = scale.tensor;
  scales.blocks->dtype = dtype;
  scales.blocks->strides = row_major_strides(want);
  scales.order = order;
  scales.columns = columns;
  return scales;
}

}  // namespace wan
