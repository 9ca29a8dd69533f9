#include "models/weights/lora/attach.h"

#include <ATen/ATen.h>

#include <map>
#include <string>

#include "models/files/error.h"
#include "models/weights/branch.h"
#include "models/weights/stored_part.h"

namespace wan::lora {
namespace {

/// One file's difference of a tensor.
struct Change {
  const File* file;
  const Difference* difference;
  double strength;
};
using Changes = std::map<std::string, std::vector<Change>>;  // by the tensor's name

Changes changes_of(const std::vector<Adapter>& adapters) {
  Changes changes;
  for (const Adapter& adapter : adapters) {
    if (adapter.strength == 0) continue;
    for (const Difference& difference : adapter.file->differences())
      changes[difference.tensor].push_back({adapter.file.get(), &difference, adapter.strength});
  }
  return changes;
}

/// What libtorch refuses names the file and the tensor.
template <typename Make>
auto naming(const Change& change, const Make& make) {
  try {
    return make();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    throw ModelError(change.file->label() + ": " + printable(change.difference->tensor),
                     "must be a difference that can be added to its weight, is none (" +
                         printable(what.substr(0, what.find('\n'))) + "); do not use this file");
  }
}

at::Tensor base_values(const Checkpoint& base, const std::string& tensor, const Weight& weight) {
  return values_of(stored_part(base, tensor), weight.context()).to(at::kFloat);
}

/// What all files together change of one part of a linear, in float32.
class PartSum {
 public:
  PartSum(const Checkpoint& base, const wan::Part& part, const Weight& weight)
      : base_(base), part_(part), weight_(weight) {}

  void add(const Change& change) {
    const File& file = *change.file;
    const Difference& difference = *change.difference;
    at::Tensor scale;  // of its rows [out, 1]
    if (difference.dora) {
      const at::Tensor base = base_values(base_, part_.name, weight_);
      if (!difference.dora_by_rows) return add_whole(file.merged(base, difference, change.strength).sub_(base));
      const at::Tensor factors = file.row_factors(base, difference, change.strength);
      rows = (rows.defined() ? rows : at::ones_like(factors)) + (factors - 1);
      scale = factors.unsqueeze(1);
    }
    if (const std::optional<Factors> factors = file.factors(difference, change.strength)) {
      ups.push_back(scale.defined() ? factors->up * scale.to(at::kFloat) : factors->up);
      downs.push_back(factors->down);
      return;
    }
    const at::Tensor whole = file.scaled(difference, change.strength);
    add_whole(scale.defined() ? whole * scale : whole);
  }

  std::vector<at::Tensor> ups, downs;
  at::Tensor whole;  // float32 [out, in], or undefined
  at::Tensor rows;   // float64 [out], or undefined

 private:
  void add_whole(const at::Tensor& values) {
    const at::Tensor added = values.to(at::kFloat);
    whole = whole.defined() ? whole.add_(added) : added;
  }

  const Checkpoint& base_;
  const wan::Part& part_;
  const Weight& weight_;
};

/// The branch of a linear whose parts lie below one another.
class BranchOf {
 public:
  BranchOf(const Weight& weight, const Checkpoint& base) : weight_(weight), base_(base) {}

  void add(const wan::Part& part, const std::vector<Change>* changes) {
    const int64_t first = row_;
    row_ += part.shape[0];
    at::Tensor rows = at::ones({part.shape[0]}, at::kDouble);
    if (changes) {
      PartSum sum(base_, part, weight_);
      for (const Change& change : *changes) naming(change, [&] { sum.add(change); });
      if (!sum.ups.empty()) {
        const at::Tensor up = at::cat(sum.ups, 1);
        branch_.parts.push_back({first, rank_, placed(up), {}});
        rank_ += up.size(1);
        for (const at::Tensor& down : sum.downs) downs_.push_back(placed(down));
      }
      if (sum.whole.defined()) branch_.parts.push_back({first, 0, {}, placed(sum.whole)});
      if (sum.rows.defined()) {
        rows = sum.rows;
        scaled_ = true;
      }
    }
    rows_.push_back(rows);
  }

  std::shared_ptr<const Branch> done() {
    if (branch_.parts.empty()) return nullptr;
    if (!downs_.empty()) branch_.down = downs_.size() == 1 ? downs_[0] : at::cat(downs_);
    const at::ScalarType factors = weight_.compute() == at::kDouble ? at::kDouble : at::kFloat;
    if (scaled_) branch_.rows = at::cat(rows_).to(weight_.place_device(), factors);
    return std::make_shared<const Branch>(std::move(branch_));
  }

 private:
  at::Tensor placed(const at::Tensor& values) const {
    return values.to(weight_.compute()).contiguous().to(weight_.place_device());
  }

  const Weight& weight_;
  const Checkpoint& base_;
  Branch branch_;
  int64_t row_ = 0, rank_ = 0;
  std::vector<at::Tensor> downs_, rows_;
  bool scaled_ = false;
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

void attach(Weight& weight, const Changes& changes, const Checkpoint& base) {
  std::vector<const std::vector<Change>*> of_parts;
  bool any = false;
  for (const wan::Part& part : weight.parts()) {
    const auto found = changes.find(part.name);
    of_parts.push_back(found == changes.end() ? nullptr : &found->second);
    any = any || of_parts.back();
  }
  if (!any) return;
  if (weight.is_linear()) {
    BranchOf branch(weight, base);
    for (size_t i = 0; i < of_parts.size(); ++i) branch.add(weight.parts()[i], of_parts[i]);
    return weight.set_branch(branch.done());
  }
  std::vector<at::Tensor> values;
  for (size_t i = 0; i < of_parts.size(); ++i) values.push_back(merged(base, weight.parts()[i], weight, of_parts[i]));
  weight.set_values(values);
}

/// What a difference comes to as a branch: values of its factors, or of the whole.
int64_t branch_values(const Difference& difference) {
  const int64_t whole = difference.elements(), rows = difference.shape[0], columns = whole / rows;
  if (difference.dora && !difference.dora_by_rows) return whole;
  if (difference.kind == Kind::LowRank) return difference.rank * (rows + columns);
  if (difference.kind == Kind::Hadamard) return std::min(difference.ranks() * (rows + columns), whole);
  return whole;
}

}  // namespace

void attach(std::span<Weight> weights, const std::vector<Adapter>& adapters, const Checkpoint& base,
            const std::function<void()>& check) {
  const c10::InferenceMode inference;
  detach(weights);
  const Changes changes = changes_of(adapters);
  try {
    for (Weight& weight : weights) {
      if (check) check();
      attach(weight, changes, base);
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
  uint64_t bytes = 0;
  for (const Difference& difference : file.differences()) {
    const bool wide = difference.shape.size() != 2 || !difference.tensor.starts_with("blocks.");
    bytes += uint64_t(branch_values(difference)) * (wide ? sizeof(float) : c10::elementSize(compute));
  }
  return bytes;
}

double attached_flops(const File& file) {
  double flops = 0;
  for (const Difference& difference : file.differences())
    if (difference.shape.size() == 2 && difference.tensor.starts_with("blocks."))
      flops += 2 * double(branch_values(difference));
  return flops;
}

}  // namespace wan::lora
