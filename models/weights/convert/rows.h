// The rows of a checkpoint's tensor as values, with the LoRAs that are merged into them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/lora/row_merge.h"

namespace wan::convert {

/// What a checkpoint holds cannot be converted, now or at the next try: numbers that are not finite, or files that change.
struct SourceRefused : ModelError {
  using ModelError::ModelError;
};

/// A LoRA that is folded into the weights. The file must outlive the conversion.
struct Merge {
  const lora::File* file;
  double strength = 1;
};

/// Rows of a matrix as float32, wherever and in whatever form they lie, with what is merged into them; of other tensors, what
/// their first axis counts.
class Rows {
 public:
  /// Reads the factors of LoRAs that change the tensor. Throws SourceRefused for values that are not finite.
  Rows(const Checkpoint& source, const std::string& name, const std::vector<Merge>& merges);
  Rows(const Rows&) = delete;

  /// Whether a LoRA changes it.
  bool merges() const { return !merges_.empty(); }
  /// [count, columns] in `dtype`, rounded once from float32. Throws SourceRefused for values that are not finite.
  at::Tensor get(int64_t first, int64_t count, at::ScalarType dtype = at::kFloat) const;

 private:
  void fill(const at::Tensor& rows, int64_t first) const;
  void check(const at::Tensor& rows, const char* wanted) const;

  std::string subject_;
  int64_t columns_ = 0;
  std::optional<kernels::CodedMatrix> coded_;
  at::Tensor plain_;
  std::vector<lora::RowMerge> merges_;
};

}  // namespace wan::convert
