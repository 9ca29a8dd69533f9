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
  columns_ = coded_ ? coded_->columns : plain_.numel() / std::max<int64_t>(plain_.size(0), 1);
  const bool exact = !coded_ && plain_.element_size() >= 4;
  const lora::RowSource before = [this](int64_t first, int64_t count) { return get(first, count); };
  merges_.reserve(merges.size());
  for (const Merge& merge : merges)
    if (const lora::Difference* difference = difference_of(*merge.file, name))
      merges_.emplace_back(*merge.file, *difference, merge.strength, exact, before);
}

at::Tensor Rows::get(int64_t first, int64_t count, at::ScalarType dtype) const {
  const at::Tensor all = at::empty({count, columns_}, dtype);
  lora::each_tile(count, columns_, [&](int64_t row, int64_t some) {
    const at::Tensor to = all.narrow(0, row, some);
    const at::Tensor rows = dtype == at::kFloat ? to : at::empty(to.sizes(), at::kFloat);
    fill(rows, first + row);
    if (dtype != at::kFloat) to.copy_(rows);
  });
  return all;
}

/// With float32 rows, from `first` on: a tile that stays in the cache while it is read, merged and checked.
void Rows::fill(const at::Tensor& rows, int64_t first) const {
  rows.copy_(coded_ ? kernels::widen(*coded_, first, rows.size(0), at::kFloat)
                    : plain_.narrow(0, first, rows.size(0)).reshape(rows.sizes()));
  check(rows, "must hold finite numbers, holds some that are not; do not use this file");
  if (!merges()) return;
  for (const lora::RowMerge& merge : merges_) merge.add_to(rows, first);
  check(rows, "must stay finite with the LoRA, does not; take a smaller scale");
}

/// Quick where all are finite: their sum is then finite, too, unless it overflows.
void Rows::check(const at::Tensor& rows, const char* wanted) const {
  if (std::isfinite(rows.sum().item<float>()) || rows.isfinite().all().item<bool>()) return;
  throw SourceRefused(subject_, wanted);
}

}  // namespace wan::convert
