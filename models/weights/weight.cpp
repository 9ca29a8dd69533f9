#include "models/weights/weight.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "models/files/error.h"
#include "models/weights/dtype.h"

namespace wan {
namespace {

std::string text(at::IntArrayRef shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::vector<int64_t> joined_shape(const std::vector<Part>& parts) {
  std::vector<int64_t> shape = parts.at(0).shape;
  for (size_t i = 1; i < parts.size(); ++i) shape.at(0) += parts[i].shape.at(0);
  return shape;
}

/// Whether the layer wants more than the values, joined by rows and converted.
bool is_made(const Making& making, const Form& form) {
  return making.prepare || (!form.mapped && (making.layout || form.dtype != form.uploaded));
}

Tensor prepared(const Making& making, const std::vector<Tensor>& parts) {
  return making.prepare ? making.prepare(parts) : parts.at(0);
}

/// A weight that is made of its parts, from these values.
Floats made(const Making& making, const Form& form, const std::vector<Tensor>& stored) {
  if (form.mapped) {
    const Tensor values = prepared(making, stored);
    bool view = false;
    for (const Tensor& part : stored) view = view || values.is_alias_of(part);
    return {values, view};
  }
  std::vector<Tensor> copies;
  for (const Tensor& part : stored) copies.push_back(copy(part, form));
  const Tensor values = prepared(making, copies);
  return {making.layout ? making.layout(values) : values, /*mapped=*/false};
}

const kernels::Context& or_default(const std::shared_ptr<const kernels::Context>& context) {
  return context ? *context : kernels::default_context();
}

void fill_parts(Storage& storage, const Form& form, const std::vector<Tensor>& stored,
                const kernels::Context& context) {
  int64_t row = 0;
  for (const Tensor& part : stored) {
    fill(storage, form, row, part, context);
    row += part.size(0);
  }
}

Storage storage_of(const std::vector<Part>& parts, const Making& making, const Form& form,
                   const std::vector<Tensor>& stored, const kernels::Context& context) {
  if (is_made(making, form)) {
    if (form.codes != Codes::None) throw std::logic_error("[" + parts[0].name + "] in codes is taken as it is stored");
    return made(making, form, stored);
  }
  if (!form.mapped) {
    Storage storage = allocate(form, joined_shape(parts));
    fill_parts(storage, form, stored, context);
    return storage;
  }
  if (stored.size() != 1) throw std::logic_error("[" + parts[0].name + "] mapped tensors are not joined");
  if (form.codes == Codes::Int8) return Int8AtUse{stored[0]};
  return Floats{stored[0], /*mapped=*/true};
}

/// Throws ModelError where a tensor is not what the part wants.
void check(const Checkpoint& from, const std::string& name, const Part& part) {
  const auto found = from.tensors().find(name);
  const std::string subject = from.label() + ": " + printable(name);
  if (found == from.tensors().end()) throw ModelError(subject, "must be " + text(part.shape) + ", is not there");
  if (const std::string wrong = misfit(found->second, part.shape); !wrong.empty()) throw ModelError(subject, wrong);
}

void check(const Checkpoint& from, const std::vector<std::string>& names, const std::vector<Part>& parts) {
  if (names.size() != parts.size())
    throw std::logic_error("[" + parts[0].name + "] must be refilled with " + std::to_string(parts.size()) +
                           " tensors, got " + std::to_string(names.size()));
  for (size_t i = 0; i < parts.size(); ++i) check(from, names[i], parts[i]);
}

std::vector<std::string> renamed(const Weight& weight, std::string_view prefix, std::string_view other) {
  std::vector<std::string> names;
  for (const Part& part : weight.parts()) {
    if (!part.name.starts_with(prefix))
      throw std::logic_error("[" + part.name + "] must begin with " + std::string(prefix));
    names.push_back(std::string(other) + part.name.substr(prefix.size()));
  }
  return names;
}

}  // namespace

Weight::Weight(std::vector<Part> parts, Role role, Making making, const Place& place,
               const std::vector<Tensor>& stored) {
  std::vector<Tensor> seen = stored;
  if (place.on_meta)
    for (Tensor& part : seen) part = at::empty_strided(part.sizes(), part.strides(), part.options().device(at::kMeta));
  const Form form = form_of(place, role, joined_shape(parts), seen.at(0).scalar_type(), making.dtype);
  Storage storage = storage_of(parts, making, form, seen, or_default(place.context));
  state_ = std::make_shared<State>(
      State{std::move(parts), role, std::move(making), form, std::move(storage), place.context});
}

const Weight::State& Weight::state() const {
  if (!state_) throw std::logic_error("[weight] must have been taken from a checkpoint, is empty");
  return *state_;
}

bool Weight::is_coded() const {
  return defined() && !std::holds_alternative<Floats>(storage());
}

const Tensor& Weight::tensor() const {
  static const Tensor none;
  if (!defined()) return none;
  const Floats* floats = std::get_if<Floats>(&storage());
  TORCH_CHECK(floats, "[", parts()[0].name, "] must lie in floats, lies in codes");
  return floats->values;
}

const kernels::Context& Weight::context() const {
  return defined() ? or_default(state().context) : kernels::default_context();
}

uint64_t Weight::bytes() const {
  return defined() ? bytes_of(storage()) : 0;
}

void Weight::refill(const std::vector<Tensor>& stored) {
  TORCH_CHECK(stored.size() == parts().size(), "[", parts()[0].name, "] must be refilled with ", parts().size(),
              " tensors, got ", stored.size());
  for (size_t i = 0; i < stored.size(); ++i)
    TORCH_CHECK(stored[i].sizes() == parts()[i].shape, "[", parts()[i].name, "] must be refilled with ",
                text(parts()[i].shape), ", got ", stored[i].sizes());
  const State& as = state();
  Floats* floats = std::get_if<Floats>(&state_->storage);
  if (floats && floats->mapped) {
    *floats = made(as.making, as.form, stored);
    return;
  }
  // Tensors that were made in inference mode may be written in it alone.
  const c10::InferenceMode inference;
  if (is_made(as.making, as.form))
    floats->values.copy_(made(as.making, as.form, stored).values);
  else
    fill_parts(state_->storage, as.form, stored, context());
}

void Weight::refill(const Checkpoint& from, const std::vector<std::string>& names) {
  check(from, names, parts());
  std::vector<Tensor> stored;
  for (const std::string& name : names) stored.push_back(from.map(name));
  refill(stored);
}

void refill(std::span<Weight> weights, const Checkpoint& from, std::string_view prefix, std::string_view other) {
  for (const Weight& weight : weights) check(from, renamed(weight, prefix, other), weight.parts());
  for (Weight& weight : weights) weight.refill(from, renamed(weight, prefix, other));
}

uint64_t bytes_of(std::span<const Weight> weights) {
  uint64_t sum = 0;
  for (const Weight& weight : weights) sum += weight.bytes();
  return sum;
}

std::string misfit(const StoredTensor& stored, at::IntArrayRef shape) {
  if (shape != at::IntArrayRef(stored.shape)) return "must be " + text(shape) + ", is " + text(stored.shape);
  if (!at::isFloatingType(stored.dtype)) return "must hold floats, holds " + std::string(dtype_name(stored.dtype));
  return "";
}

}  // namespace wan
