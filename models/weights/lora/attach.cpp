#include "models/weights/lora/attach.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <string>

#include "kernels/dequantise/coded_matrix.h"
#include "kernels/op/device_failure.h"
#include "models/files/error.h"
#include "models/weights/branch.h"
#include "models/weights/lora/row_merge.h"
#include "models/weights/stored_part.h"

namespace wan::lora {
namespace {

/// One file's difference of a tensor.
struct Change {
  std::shared_ptr<const File> file;
  const Difference* difference;
  double strength;
};
using Changes = std::map<std::string, std::vector<Change>>;  // by the tensor's name

Changes changes_of(const std::vector<Adapter>& adapters) {
  Changes changes;
  for (const Adapter& adapter : adapters) {
    if (adapter.strength == 0) continue;
    for (const Difference& difference : adapter.file->differences())
      changes[difference.tensor].push_back({adapter.file, &difference, adapter.strength});
  }
  return changes;
}

/// What libtorch refuses names the file and the tensor.
template <typename Make>
auto naming(const Change& change, const Make& make) {
  try {
    return make();
  } catch (const c10::Error& error) {
    if (kernels::device_failure(error) != kernels::DeviceFailure::None) throw;  // it is not about the file
    const std::string what = error.what_without_backtrace();
    throw ModelError(change.file->label() + ": " + printable(change.difference->tensor),
                     "must be a difference that can be added to its weight, is none (" +
                         printable(what.substr(0, what.find('\n'))) + "); do not use this file");
  }
}

at::Tensor base_values(const Checkpoint& base, const std::string& tensor, const Weight& weight) {
  return values_of(stored_part(base, tensor), weight.context()).to(at::kFloat);
}

/// The rows of a part of a linear, some at a time.
RowSource rows_of(const Checkpoint& base, const std::string& tensor, const Weight& weight) {
  return [stored = stored_part(base, tensor), &weight](int64_t first, int64_t count) {
    if (stored.is_coded()) return kernels::widen(*stored.codes, first, count, at::kFloat, weight.context());
    return stored.values.narrow(0, first, count).to(at::kFloat);
  };
}

/// What weights are made from, beside their own files.
struct Sources {
  const Checkpoint& base;
  DoraCache* dora;
};

/// What all files together change of one part of a linear: in float32, or in float64 where it was made in that (LoKr,
/// and what DoRA multiplies with or has multiplied).
class PartSum {
 public:
  PartSum(const Sources& sources, const wan::Part& part, const Weight& weight)
      : sources_(sources), part_(part), weight_(weight) {}

  void add(const Change& change) {
    const File& file = *change.file;
    const Difference& difference = *change.difference;
    at::Tensor of_rows, of_columns;  // what DoRA multiplies this difference with
    if (difference.dora) {
      const at::Tensor factors = dora_factors(change);
      at::Tensor& sum = difference.dora_by_rows ? rows : columns;
      sum = (sum.defined() ? sum : at::ones_like(factors)) + (factors - 1);
      (difference.dora_by_rows ? of_rows : of_columns) = factors;
    }
    const auto scaled = [&](at::Tensor values) {
      if (of_rows.defined()) values = values * of_rows.unsqueeze(1);
      return of_columns.defined() ? values * of_columns : values;
    };
    if (const std::optional<Factors> factors = file.factors(difference, change.strength)) {
      ups.push_back(of_rows.defined() ? factors->up * of_rows.unsqueeze(1) : factors->up);
      downs.push_back(of_columns.defined() ? factors->down * of_columns : factors->down);
    } else if (difference.kind == Kind::Kronecker) {
      kroneckers.push_back(file.kronecker(difference, change.strength));
      kroneckers.back().rows = of_rows;
      kroneckers.back().columns = of_columns;
    } else {
      const at::Tensor added = scaled(file.scaled(difference, change.strength)).to(at::kFloat);
      whole = whole.defined() ? whole.add_(added) : added;
    }
  }

  std::vector<at::Tensor> ups, downs;
  std::vector<Kronecker> kroneckers;
  at::Tensor whole;          // [out, in], or undefined
  at::Tensor rows, columns;  // of the base: float64 [out], [in], or undefined

 private:
  at::Tensor dora_factors(const Change& change) const {
    const auto make = [&] {
      return RowMerge::dora_factors(*change.file, *change.difference, change.strength,
                                    rows_of(sources_.base, part_.name, weight_));
    };
    return sources_.dora ? sources_.dora->get(change.file, *change.difference, change.strength, make) : make();
  }

  const Sources& sources_;
  const wan::Part& part_;
  const Weight& weight_;
};

/// The branch of a linear whose parts lie below one another.
class BranchOf {
 public:
  BranchOf(const Weight& weight, const Sources& sources) : weight_(weight), sources_(sources) {}

  void add(const wan::Part& part, const std::vector<Change>* changes) {
    const int64_t first = row_;
    row_ += part.shape[0];
    rows_.emplace_back();
    columns_.emplace_back();
    if (!changes) return;
    PartSum sum(sources_, part, weight_);
    for (const Change& change : *changes) naming(change, [&] { sum.add(change); });
    if (!sum.ups.empty()) {
      const at::Tensor up = at::cat(sum.ups, 1);
      branch_.parts.push_back({.first_row = first, .first_rank = rank_, .up = placed(up)});
      rank_ += up.size(1);
      for (const at::Tensor& down : sum.downs) downs_.push_back(placed(down));
    }
    for (const Kronecker& one : sum.kroneckers) branch_.parts.push_back({.first_row = first, .kronecker = placed(one)});
    if (sum.whole.defined()) branch_.parts.push_back({.first_row = first, .whole = placed(sum.whole)});
    rows_.back() = placed_wide(sum.rows);
    columns_.back() = placed_wide(sum.columns);
    has_rows_ = has_rows_ || sum.rows.defined();
    has_columns_ = has_columns_ || sum.columns.defined();
  }

  std::shared_ptr<const Branch> done() {
    if (branch_.parts.empty()) return nullptr;
    if (!downs_.empty()) branch_.down = downs_.size() == 1 ? downs_[0] : at::cat(downs_);
    if (has_rows_) branch_.rows = rows_;
    if (has_columns_) branch_.columns = columns_;
    return std::make_shared<const Branch>(std::move(branch_));
  }

 private:
  at::Tensor placed(const at::Tensor& values) const {
    return values.to(weight_.compute()).contiguous().to(weight_.place_device());
  }
  /// What rows and columns are multiplied with: at least float32.
  at::Tensor placed_wide(const at::Tensor& values) const {
    const at::ScalarType wide = weight_.compute() == at::kDouble ? at::kDouble : at::kFloat;
    return values.defined() ? values.to(wide).contiguous().to(weight_.place_device()) : values;
  }
  Kronecker placed(const Kronecker& from) const {
    Kronecker made;
    for (const at::Tensor& matrix : from.first) made.first.push_back(placed(matrix));
    for (const at::Tensor& matrix : from.second) made.second.push_back(placed(matrix));
    made.rows = placed_wide(from.rows);
    made.columns = placed_wide(from.columns);
    return made;
  }

  const Weight& weight_;
  const Sources& sources_;
  Branch branch_;
  int64_t row_ = 0, rank_ = 0;
  std::vector<at::Tensor> downs_, rows_, columns_;
  bool has_rows_ = false, has_columns_ = false;
};

/// Of what is no linear's weight.
at::Tensor merged(const Checkpoint& base, const wan::Part& part, const Weight& weight,
                  const std::vector<Change>* changes) {
  const at::Tensor values = base_values(base, part.name, weight);
  if (!changes) return values;
  at::Tensor sum = values.to(at::kDouble);
  for (const Change& change : *changes)
    naming(change, [&] {
      const auto& [file, difference, strength] = change;
      sum +=
          difference->dora ? file->merged(values, *difference, strength) - values : file->scaled(*difference, strength);
    });
  return sum.to(at::kFloat);
}

void attach(Weight& weight, const Changes& changes, const Sources& sources) {
  std::vector<const std::vector<Change>*> of_parts;
  bool any = false;
  for (const wan::Part& part : weight.parts()) {
    const auto found = changes.find(part.name);
    of_parts.push_back(found == changes.end() ? nullptr : &found->second);
    any = any || of_parts.back();
  }
  if (!any) return;
  if (weight.is_linear()) {
    BranchOf branch(weight, sources);
    for (size_t i = 0; i < of_parts.size(); ++i) branch.add(weight.parts()[i], of_parts[i]);
    return weight.set_branch(branch.done());
  }
  std::vector<at::Tensor> values;
  for (size_t i = 0; i < of_parts.size(); ++i)
    values.push_back(merged(sources.base, weight.parts()[i], weight, of_parts[i]));
  weight.set_values(values);
}

bool is_branch(const Difference& difference) {
  return difference.shape.size() == 2;
}
bool is_in_block(const Difference& difference) {
  return is_branch(difference) && difference.tensor.starts_with("blocks.");
}

/// What a difference comes to as a branch: values of its factors, or of the whole.
int64_t branch_values(const Difference& difference) {
  const int64_t whole = difference.elements(), rows = difference.shape[0], columns = whole / rows;
  if (difference.kind == Kind::LowRank) return difference.rank * (rows + columns);
  if (difference.kind == Kind::Hadamard) return FactorSizes{rows, columns, difference.ranks()}.values();
  return difference.kind == Kind::Kronecker ? difference.w1.values() + difference.w2.values() : whole;
}

/// Of what DoRA multiplies with: the base, and beside factors that are no low ranks these, too.
int64_t dora_values(const Difference& difference) {
  if (!difference.dora) return 0;
  return (difference.kind == Kind::Kronecker ? 2 : 1) * difference.shape[difference.dora_by_rows ? 0 : 1];
}

}  // namespace

void attach(std::span<Weight> weights, const std::vector<Adapter>& adapters, const Checkpoint& base,
            const std::function<void()>& check, DoraCache* dora) {
  const c10::InferenceMode inference;
  detach(weights);
  const Changes changes = changes_of(adapters);
  try {
    for (Weight& weight : weights) {
      if (check) check();
      attach(weight, changes, {base, dora});
    }
  } catch (...) {
    detach(weights);
    throw;
  }
}

void detach(std::span<Weight> weights) {
  for (Weight& weight : weights) {
    weight.set_branch(nullptr);
    weight.set_values({});
  }
}

uint64_t attached_bytes(const File& file, at::ScalarType compute) {
  const uint64_t wide = c10::elementSize(compute == at::kDouble ? at::kDouble : at::kFloat);
  uint64_t bytes = 0;
  for (const Difference& difference : file.differences()) {
    const uint64_t value = is_in_block(difference) ? c10::elementSize(compute) : wide;
    bytes += is_branch(difference)
                 ? uint64_t(branch_values(difference)) * value + uint64_t(dora_values(difference)) * wide
                 : uint64_t(difference.elements()) * wide;
  }
  return bytes;
}

BranchWork branch_work(const File& file, at::ScalarType compute) {
  BranchWork work;
  for (const Difference& difference : file.differences()) {
    if (!is_in_block(difference)) continue;
    if (difference.kind == Kind::Kronecker) work.bytes = kronecker_work_bytes(compute);
    // Its rows times the columns' factors; of linears that lie as one matrix a product before it is put in its place.
    if (difference.dora && !difference.dora_by_rows)
      work.values = std::max(work.values, difference.shape[0] + difference.shape[1]);
  }
  return work;
}

double attached_flops(const std::vector<std::shared_ptr<const File>>& files) {
  double products = 0;
  std::map<std::string, double> by_rows, by_columns;  // values of the weights that DoRA multiplies so
  for (const std::shared_ptr<const File>& file : files)
    for (const Difference& difference : file->differences()) {
      if (!is_in_block(difference)) continue;
      products += difference.kind == Kind::Kronecker
                      ? KroneckerOrder(difference.w1.widths(), difference.w2.widths()).products
                      : double(branch_values(difference));
      if (difference.dora) (difference.dora_by_rows ? by_rows : by_columns)[difference.tensor] = difference.elements();
    }
  for (const auto& [tensor, values] : by_rows)
    if (by_columns.contains(tensor)) products += values;  // a second product of the base
  return 2 * products;
}

}  // namespace wan::lora
