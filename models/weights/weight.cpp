#include "models/weights/weight.h"

#include <ATen/ATen.h>

#include <algorithm>
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
  return making.prepare || (form.residence == Residence::Copied && (making.layout || form.dtype != form.uploaded));
}

Tensor prepared(const Making& making, const std::vector<Tensor>& parts) {
  return making.prepare ? making.prepare(parts) : parts.at(0);
}

const kernels::Context& or_default(const std::shared_ptr<const kernels::Context>& context) {
  return context ? *context : kernels::default_context();
}

/// A weight that is made of its parts, from these values.
Floats made(const Making& making, const Form& form, const std::vector<StoredPart>& stored,
            const kernels::Context& context) {
  std::vector<Tensor> parts;
  for (const StoredPart& part : stored) parts.push_back(values_of(part, context));
  if (form.residence == Residence::Mapped) {
    const Tensor values = prepared(making, parts);
    return {values,
            std::any_of(parts.begin(), parts.end(), [&](const Tensor& part) { return values.is_alias_of(part); })};
  }
  for (Tensor& part : parts) part = copy(part, form);
  const Tensor values = prepared(making, parts);
  return {making.layout ? making.layout(values) : values, /*mapped=*/false};
}

Storage storage_of(const std::string& name, const Making& making, const Form& form,
                   const std::vector<StoredPart>& stored, const kernels::Context& context) {
  if (is_made(making, form)) {
    if (form.codes != Codes::None) throw std::logic_error("[" + name + "] in codes is taken as it is stored");
    return made(making, form, stored, context);
  }
  if (form.residence == Residence::Copied) return copy_of(stored, form, context);
  if (stored.size() != 1) throw std::logic_error("[" + name + "] mapped tensors are not joined");
  if (form.residence == Residence::MadeAtUse) {
    Form copied = form;
    copied.residence = Residence::Copied;
    return MadeAtUse{stored[0], copied};
  }
  if (form.codes == Codes::Stored) return InCodes{stored, /*mapped=*/true};
  return Floats{stored[0].values, /*mapped=*/true};
}

/// What a weight at `place` sees of the sources: their shapes alone where it is planned.
std::vector<StoredPart> seen(const Place& place, std::vector<StoredPart> stored) {
  if (place.on_meta)
    for (StoredPart& part : stored) part = planned(part);
  return stored;
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

std::vector<StoredPart> stored_parts(const Checkpoint& from, const std::vector<std::string>& names) {
  std::vector<StoredPart> sources;
  for (const std::string& name : names) sources.push_back(stored_part(from, name));
  return sources;
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
               const std::vector<StoredPart>& stored) {
  const std::vector<StoredPart> sources = seen(place, stored);
  if (place.as_mapped) making.layout = nullptr;
  const Form form = form_of(place, role, sources, making.linear, making.dtype);
  Storage storage = storage_of(parts.at(0).name, making, form, sources, or_default(place.context));
  const Floats* floats = std::get_if<Floats>(&storage);
  std::vector<int64_t> shape = floats ? floats->values.sizes().vec() : joined_shape(parts);
  state_ = std::make_shared<State>(
      State{std::move(parts), role, std::move(making), place, std::move(shape), form, std::move(storage)});
}

const Weight::State& Weight::state() const {
  if (!state_) throw std::logic_error("[weight] must have been taken from a checkpoint, is empty");
  return *state_;
}

bool Weight::takes_codes() const {
  if (!defined() || branch()) return false;
  const MadeAtUse* made = std::get_if<MadeAtUse>(&storage());
  return std::holds_alternative<Int8Rows>(storage()) || (made && made->form.codes == Codes::Int8);
}

const Tensor& Weight::tensor() const {
  static const Tensor none;
  if (!defined()) return none;
  if (state().set.defined()) return state().set;
  const Floats* floats = std::get_if<Floats>(&storage());
  TORCH_CHECK(floats, "[", parts()[0].name, "] must lie in floats, lies in codes");
  return floats->values;
}

const kernels::Context& Weight::context() const {
  return defined() ? or_default(state().place.context) : kernels::default_context();
}

uint64_t Weight::bytes() const {
  return defined() ? bytes_of(storage()) : 0;
}

void Weight::check_shapes(const std::vector<StoredPart>& stored) const {
  TORCH_CHECK(stored.size() == parts().size(), "[", parts()[0].name, "] must be refilled with ", parts().size(),
              " tensors, got ", stored.size());
  for (size_t i = 0; i < stored.size(); ++i)
    TORCH_CHECK(stored[i].shape() == parts()[i].shape, "[", parts()[i].name, "] must be refilled with ",
                text(parts()[i].shape), ", got ", text(stored[i].shape()));
}

void Weight::refill(const std::vector<StoredPart>& stored) {
  check_shapes(stored);
  State& as = *state_;
  const std::vector<StoredPart> sources = seen(as.place, stored);
  const Form form = form_of(as.place, as.role, sources, as.making.linear, as.making.dtype);
  // Tensors that were made in inference mode may be written in it alone.
  const c10::InferenceMode inference;
  Floats* floats = std::get_if<Floats>(&as.storage);
  if (form == as.form && is_made(as.making, form) && !floats->mapped) {
    floats->values.copy_(made(as.making, form, sources, context()).values);
  } else if (form == as.form && form.residence == Residence::Copied) {
    fill(as.storage, form, sources, context());
  } else {
    as.storage = storage_of(parts()[0].name, as.making, form, sources, context());
    as.form = form;
  }
}

void Weight::refill(const Checkpoint& from, const std::vector<std::string>& names) {
  check(from, names, parts());
  refill(stored_parts(from, names));
}

std::vector<HostPart> Weight::host_parts(const std::vector<StoredPart>& stored) {
  State& as = *state_;
  const Form form = form_of(as.place, as.role, stored, as.making.linear, as.making.dtype);
  if (form.residence != Residence::Copied || is_made(as.making, form))
    throw std::logic_error("[" + parts()[0].name + "] is prepared, or lies in its file, and takes no other memory");
  as.form = form;
  as.storage = planned_copy(stored, form);
  return wan::host_parts(form, stored, context());
}

at::ScalarType Weight::compute() const {
  const at::ScalarType compute = state().place.compute;
  return role() == Role::Float32 && c10::elementSize(compute) < 4 ? at::kFloat : compute;
}

void Weight::set_values(const std::vector<Tensor>& values) {
  State& as = *state_;
  if (values.empty()) {
    as.set.reset();
    return;
  }
  std::vector<StoredPart> stored;
  for (const Tensor& part : values) stored.emplace_back(part, /*in_file=*/false);
  check_shapes(stored);
  Place place = as.place;
  place.on_meta = false;
  const Form form = form_of(place, as.role, stored, as.making.linear, as.making.dtype);
  as.set = std::get<Floats>(storage_of(parts()[0].name, as.making, form, stored, context())).values;
}

std::vector<Tensor> Weight::tensors() const {
  return defined() ? tensors_of(storage()) : std::vector<Tensor>();
}

void Weight::lie_in(std::span<const Tensor> memory) {
  state_->storage = in_memory(storage(), memory);
}

void refill(std::span<Weight> weights, const Checkpoint& from, std::string_view prefix, std::string_view other) {
  for (const Weight& weight : weights) check(from, renamed(weight, prefix, other), weight.parts());
  std::vector<std::vector<StoredPart>> all;
  for (const Weight& weight : weights) all.push_back(stored_parts(from, renamed(weight, prefix, other)));
  for (size_t i = 0; i < weights.size(); ++i) weights[i].refill(all[i]);
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
