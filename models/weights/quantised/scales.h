// Scales of a weight from the tensors that hold them: which part of the matrix each one covers.
#pragma once

#include <memory>
#include <string>

#include "models/weights/quantised/layers.h"
#include "models/weights/stored_tensor.h"

namespace wan {

/// The weight that scales are for.
struct ScaledMatrix {
  std::string name;
  int64_t rows, columns;  // its first axis, and all others together
};

/// The one value of a scale, which is read: F32, F16 or BF16. Throws ModelError about `label` and the tensor for more
/// values and for one that is not finite and above zero.
float read_scale(const NamedTensor& scale, const std::string& label);

/// Scales in floats. By shape: [], [1]: of the whole matrix; [N], [N, 1]: of each row; [N, G], [N, G, 1]: of each row
/// in G equal parts; [N / 128, K / 128] (rounded up; with ones between: [N / 128, 1, K / 128, 1]): of blocks of 128 x
/// 128. Throws ModelError for any other shape or dtype.
StoredScales float_scales(const NamedTensor& scale, const ScaledMatrix& matrix, const std::string& label);

/// Scales in E4M3 or E8M0 (`dtype`), or bytes that are meant so, of each row in parts of `columns` values, which divide
/// the matrix. In tiles the tensor has the padding, [N rounded up to 128, K / columns rounded up to 4]. Throws
/// ModelError for any other shape or dtype.
StoredScales block_scales(const NamedTensor& scale, const ScaledMatrix& matrix, at::ScalarType dtype, int64_t columns,
                          StoredScales::Order order, const std::string& label);

/// Whether elements lie one after another. Strides of axes of one element do not count.
bool is_row_major(const StoredTensor& tensor);

}  // namespace wan
