// The product of a difference's factors, whole or some rows at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>

#include "models/weights/lora/file.h"

namespace wan::lora {

/// Kernels of convolutions count as matrices: what comes behind the first axis of a factor or of the tensor is its
/// columns.
class Product {
 public:
  /// Reads the factors and computes in `dtype`. Throws ModelError for a factor that is not finite.
  Product(const File& file, const Difference& difference, at::ScalarType dtype);

  /// Rows of the difference [count, columns], without strength and scale.
  at::Tensor rows(int64_t first, int64_t count) const;
  /// A factor as a matrix; of a LoKr also W1 and W2 where the file has two matrices for them.
  at::Tensor matrix(Part part) const { return factors_.at(part).flatten(1); }

 private:
  at::Tensor kronecker(int64_t first, int64_t count) const;

  Kind kind_;
  int64_t rows_;
  std::map<Part, at::Tensor> factors_;
};

}  // namespace wan::lora
