#include "models/weights/convert/rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "models/files/error.h"

namespace wan::convert {
namespace {

const lora::Difference* difference_of(const lora::File& file, const std::string& name) {
  const auto& all = file.differences();
  const auto before = [](const lora::Difference& a, const std::string& b) { return a.tensor < b; };
  const auto found = std::lower_bound(all.begin(), all.end(), name, before);
  return found != all.end() && found->tensor == name ? &*found : nullptr;
}

}  // namespace

Rows::Rows(const Checkpoint& source, const std::string& name, const std::vector<Merge>& merges)
    : subject_(source.label() + ": " + printable(name)), coded_(source.coded(name)) {
  if (!coded_) plain_ = source.map(name);
  const bool exact = !coded_ && plain_.element_size() >= 4;
  const lora::RowSource before = [this](int64_t first, int64_t count) { return get(first, count); };
  merges_.reserve(merges.size());
  for (const Merge& merge : merges)
    if (const lora::Difference* difference = difference_of(*merge.file, name))
      merges_.emplace_back(*merge.file, *difference, merge.strength, exact, before);
}

at::Tensor Rows::get(int64_t first, int64_t count) const {
  const at::Tensor rows = coded_ ? kernels::widen(*coded_, first, count, at::kFloat)
                                 : plain_.narrow(0, first, count).reshape({count, -1}).to(at::kFloat);
  check(rows, "must hold finite numbers, holds some that are not; do not use this file");
  if (!merges()) return rows;
  at::Tensor merged = rows;
  for (const lora::RowMerge& merge : merges_) merged = merge(merged, first);
  check(merged, "must stay finite with the LoRA, does not; take a smaller scale");
  return merged;
}

/// Quick where all are finite: their sum is then finite, too, unless it overflows.
void Rows::check(const at::Tensor& rows, const char* wanted) const {
  if (std::isfinite(rows.sum().item<float>()) || rows.isfinite().all().item<bool>()) return;
  throw ModelError(subject_, wanted);
}

}  // namespace wan::convert
