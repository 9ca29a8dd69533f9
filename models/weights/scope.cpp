#include "models/weights/scope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "models/files/error.h"

namespace wan {

namespace {

std::string join(const std::string& path, std::string_view leaf) {
  return path.empty() ? std::string(leaf) : path + "." + std::string(leaf);
}

/// "3 missing (a, b, c)", cut after ten; nothing for none.
std::string listing(const std::vector<std::string>& names, const std::string& what) {
  constexpr size_t kShown = 10;
  if (names.empty()) return "";
  std::string out = std::to_string(names.size()) + " " + what + " (";
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) out += (i ? ", " : "") + names[i];
  return out + (names.size() > kShown ? ", ...)" : ")");
}

}  // namespace

Scope Scope::operator/(std::string_view segment) const {
  return Scope(weights_, join(path_, segment));
}
Scope Scope::operator/(int64_t index) const {
  return Scope(weights_, join(path_, std::to_string(index)));
}

Weight Scope::take(std::string_view leaf, at::IntArrayRef shape, Role role, const Making& making) const {
  return take({{std::string(leaf), shape.vec()}}, role, making);
}

Weight Scope::take(std::vector<Part> parts, Role role, const Making& making) const {
  for (Part& part : parts) part.name = join(path_, part.name);
  return weights_->take(std::move(parts), role, making);
}

bool Scope::has(std::string_view leaf) const {
  return weights_->checkpoint_.tensors().contains(join(path_, leaf));
}

std::vector<int64_t> Scope::shape(std::string_view leaf) const {
  const auto& tensors = weights_->checkpoint_.tensors();
  const auto found = tensors.find(join(path_, leaf));
  return found == tensors.end() ? std::vector<int64_t>() : found->second.shape;
}

const Place& Scope::place() const {
  return weights_->place_;
}

Weights::Weights(Checkpoint checkpoint, const Place& place) : checkpoint_(std::move(checkpoint)), place_(place) {
  if (!place.mapped && !place.on_meta) files_ = std::make_shared<WeightFiles>(checkpoint_);
}

Weights::Weights(Draw draw, const Place& place, Checkpoint shapes)
    : checkpoint_(std::move(shapes)), place_(place), draw_(std::move(draw)) {}

void Weights::ask(std::function<void()> check) {
  if (files_) files_->ask(check);
  check_ = std::move(check);
}

Weight Weights::take(std::vector<Part> parts, Role role, const Making& making) {
  if (check_) check_();
  std::vector<StoredPart> stored;
  // All parts first, so that every one that is missing is noted.
  for (const Part& part : parts) {
    if (draw_)
      stored.emplace_back(draw_(part.shape, role));
    else if (auto found = find(part))
      stored.push_back(*std::move(found));
  }
  if (stored.size() < parts.size()) return {};
  const bool planned = is_planned(parts[0].name);
  // Of a table a few rows are looked up: the mapping brings those alone. Scales come by it, too: they are looked at
  // before anything is copied.
  if (files_ && !planned && role != Role::Table)
    for (size_t i = 0; i < parts.size(); ++i) stored[i] = files_->read(checkpoint_, parts[i].name, stored[i]);
  taken_.emplace_back(std::move(parts), role, making, planned ? place_.planned() : place_, stored);
  return taken_.back();
}

std::optional<StoredPart> Weights::find(const Part& part) {
  const auto found = checkpoint_.tensors().find(part.name);
  if (found == checkpoint_.tensors().end()) {
    missing_.push_back(part.name);
    return std::nullopt;
  }
  if (!used_.insert(part.name).second) throw std::logic_error("[" + part.name + "] is taken twice");
  if (const std::string wrong = misfit(found->second, part.shape); !wrong.empty()) {
    misshapen_.push_back(part.name + " " + wrong);
    return std::nullopt;
  }
  // Mapping would copy what does not lie at a multiple of its size, and widen.
  return is_planned(part.name) ? planned_part(found->second) : stored_part(checkpoint_, part.name);
}

bool Weights::is_planned(const std::string& name) const {
  return place_.on_meta || std::any_of(planned_.begin(), planned_.end(),
                                       [&](const std::string& prefix) { return name.starts_with(prefix); });
}

std::vector<Weight> Weights::taken(std::string_view prefix) const {
  std::vector<Weight> found;
  for (const Weight& weight : taken_)
    if (weight.parts()[0].name.starts_with(prefix)) found.push_back(weight);
  return found;
}

void Weights::ignore(std::string_view prefix) {
  for (const auto& entry : checkpoint_.tensors())
    if (entry.first.starts_with(prefix)) used_.insert(entry.first);
}

std::vector<std::string> Weights::unused() const {
  std::vector<std::string> names;
  for (const auto& entry : checkpoint_.tensors()) {
    if (!used_.contains(entry.first)) names.push_back(entry.first);
  }
  return names;
}

void Weights::finish() const {
  std::vector<std::string> unused_names;
  for (const std::string& name : unused()) unused_names.push_back(printable(name));
  std::string found;
  for (const std::string& part :
       {listing(missing_, "missing"), listing(misshapen_, "of another kind"), listing(unused_names, "unknown")}) {
    if (!part.empty()) found += (found.empty() ? "" : ", ") + part;
  }
  if (found.empty()) return;
  throw ModelError(checkpoint_.label(), "must hold exactly the tensors of its network, has " + found +
                                            "; is it the model that its config.json describes, and complete?");
}

}  // namespace wan
