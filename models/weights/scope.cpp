#include <ATen/ATen.h>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/dtype.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

std::string join(const std::string& path, std::string_view leaf) {
  return path.empty() ? std::string(leaf) : path + "." + std::string(leaf);
}

std::string text(at::IntArrayRef shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
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

at::Tensor keep_mapped(const at::Tensor& mapped, Role) {
  return mapped;
}

Scope Scope::operator/(std::string_view segment) const {
  return Scope(book_, join(path_, segment));
}
Scope Scope::operator/(int64_t index) const {
  return Scope(book_, join(path_, std::to_string(index)));
}

at::Tensor Scope::take(std::string_view leaf, at::IntArrayRef shape, Role role) const {
  const std::string name = join(path_, leaf);
  if (book_->draw_) return book_->draw_(shape, role);
  const auto& tensors = book_->checkpoint_.tensors();
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    book_->missing_.push_back(name);
    return {};
  }
  if (!book_->used_.insert(name).second) throw std::logic_error("[" + name + "] is taken twice");
  const StoredTensor& stored = found->second;
  if (shape != at::IntArrayRef(stored.shape)) {
    book_->misshapen_.push_back(name + " must be " + text(shape) + ", is " + text(stored.shape));
    return {};
  }
  if (!at::isFloatingType(stored.dtype)) {
    book_->misshapen_.push_back(name + " must hold floats, holds " + std::string(dtype_name(stored.dtype)));
    return {};
  }
  return book_->place_(book_->checkpoint_.map(name), role);
}

bool Scope::has(std::string_view leaf) const {
  return book_->checkpoint_.tensors().contains(join(path_, leaf));
}

std::vector<int64_t> Scope::shape(std::string_view leaf) const {
  const auto& tensors = book_->checkpoint_.tensors();
  const auto found = tensors.find(join(path_, leaf));
  return found == tensors.end() ? std::vector<int64_t>() : found->second.shape;
}

Precision Scope::precision() const {
  return book_->precision_;
}

Weights::Weights(Checkpoint checkpoint, Place place, Precision precision)
    : checkpoint_(std::move(checkpoint)), place_(std::move(place)), precision_(precision) {}

Weights::Weights(Draw draw, Checkpoint shapes, Precision precision)
    : checkpoint_(std::move(shapes)), draw_(std::move(draw)), precision_(precision) {}

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
