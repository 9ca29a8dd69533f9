#include "models/weights/place.h"

#include "kernels/linear/int8.h"

namespace wan {
namespace {

at::ScalarType copied_dtype(Role role, at::ScalarType stored, at::ScalarType compute) {
  switch (role) {
    case Role::Matmul:
    case Role::Block:
      return compute;
    case Role::Float32:
      return at::kFloat;
    case Role::Table:
      return stored;
  }
  return stored;
}

/// Matrices of the blocks, where the precision is lower and a slice of the rotation fits the width.
bool is_coded(Role role, at::IntArrayRef shape, Precision precision) {
  return role == Role::Block && shape.size() == 2 && precision != Precision::Exact &&
         kernels::takes_rotation(shape[1], at::kFloat);
}

}  // namespace

Place Place::on(at::Device device, at::ScalarType compute, Precision precision,
                std::shared_ptr<const kernels::Context> context) {
  return {.device = device,
          .compute = compute,
          .precision = precision,
          .mapped = device.is_cpu(),
          .context = std::move(context)};
}

Place Place::planned() const {
  Place place = *this;
  place.on_meta = true;
  return place;
}

Form form_of(const Place& place, Role role, at::IntArrayRef shape, at::ScalarType stored,
             std::optional<at::ScalarType> own) {
  const at::ScalarType uploaded = copied_dtype(role, stored, place.compute);
  return {.mapped = place.mapped || role == Role::Table,
          .codes = is_coded(role, shape, place.precision) ? Codes::Int8 : Codes::None,
          .device = place.on_meta ? at::Device(at::kMeta) : place.device,
          .uploaded = uploaded,
          .dtype = own.value_or(uploaded)};
}

}  // namespace wan
