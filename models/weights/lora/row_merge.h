// A difference merged into a weight some rows at a time, so that memory is bounded by these rows and the factors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "models/weights/lora/product.h"

namespace wan::lora {

/// Rows [count, columns] float32 of a weight from its row `first` on; what comes behind its first axis counts as
/// columns.
using RowSource = std::function<at::Tensor(int64_t first, int64_t count)>;

class RowMerge {
 public:
  /// Reads the factors. `exact`: in float64, rounded once, as File::merged does; else in float32, whose error (some
  /// 1e-7 of the difference) is far below what 16 bits or codes keep. `base`: the whole weight, which is read here
  /// where DoRA has magnitudes of columns; it is not kept. Throws ModelError for factors that are not finite.
  RowMerge(const File& file, const Difference& difference, double strength, bool exact, const RowSource& base);

  /// The rows from `first` on with the difference, float32 [count, columns].
  at::Tensor operator()(const at::Tensor& rows, int64_t first) const;

 private:
  at::Tensor sum(const at::Tensor& rows, int64_t first) const;

  Difference difference_;
  double strength_;
  at::ScalarType dtype_;
  Product product_;
  at::Tensor magnitudes_;  // of DoRA by rows [out, 1]
  at::Tensor ratio_;       // of DoRA by columns: what each is multiplied with
};

/// How many rows of so many columns are worked on at once: they stay in the processor's cache.
int64_t merge_tile(int64_t columns);

}  // namespace wan::lora
