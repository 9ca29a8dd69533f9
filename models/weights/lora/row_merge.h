// A difference merged into a weight some rows at a time, so that memory is bounded by these rows and the factors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "models/weights/lora/product.h"

namespace wan::lora {

/// Rows [count, columns] float32 of a weight from its row `first` on; what comes behind its first axis counts as
/// columns. Any thread may call it.
using RowSource = std::function<at::Tensor(int64_t first, int64_t count)>;

/// Calls work(first, count) for rows that stay in a processor's cache together, on all threads
/// (kernels/op/pieces.h).
void each_tile(int64_t rows, int64_t columns, const std::function<void(int64_t first, int64_t count)>& work);

class RowMerge {
 public:
  /// Reads the factors. `exact`: in float64, rounded once, as File::merged does; else in float32, whose error (some
  /// 1e-7 of the difference) is far below what 16 bits or codes keep. `base`: the whole weight, which is read here
  /// where DoRA has magnitudes of columns; it is not kept. Throws ModelError for factors that are not finite.
  RowMerge(const File& file, const Difference& difference, double strength, bool exact, const RowSource& base);

  /// Adds the difference to the rows from `first` on, float32 [count, columns], contiguous. Any thread may call it.
  void add_to(const at::Tensor& rows, int64_t first) const;

  /// By what DoRA multiplies each row, or each column, of the weight with the difference (File::merged): [out] or [in]
  /// float64. Reads the whole weight. The sum of the two is float32 for every base; its norms are added up in float64.
  static at::Tensor dora_factors(const File& file, const Difference& difference, double strength,
                                 const RowSource& base);

 private:
  RowMerge(const File& file, const Difference& difference, double strength, at::ScalarType dtype);
  at::Tensor sum(const at::Tensor& rows, int64_t first) const;
  at::Tensor factors_of(const at::Tensor& ratio) const;
  at::Tensor row_factors(const at::Tensor& sum, int64_t first) const;
  at::Tensor column_factors(const RowSource& base) const;

  Difference difference_;
  double strength_;
  at::ScalarType dtype_;
  Product product_;
  at::Tensor magnitudes_;  // of DoRA, float64
  at::Tensor columns_;     // of DoRA by columns: what each is multiplied with [1, in]
};

}  // namespace wan::lora
