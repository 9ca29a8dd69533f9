#include "models/weights/place.h"

#include <algorithm>

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

bool is_matrix(const std::vector<StoredPart>& stored) {
  return stored.at(0).shape().size() == 2;
}

/// Whether the file has all parts in one of these codes.
bool is_stored_in(const std::vector<StoredPart>& stored, std::initializer_list<kernels::Code> codes) {
  return std::all_of(stored.begin(), stored.end(), [&](const StoredPart& part) {
    return part.is_coded() && std::find(codes.begin(), codes.end(), part.codes->coding->code) != codes.end();
  });
}

/// Whether it is a linear that the reference autocasts, which --weights bf16 asks for.
bool is_bf16(const Place& place, Role role, bool linear) {
  return linear && place.kept == Kept::Bf16 && (role == Role::Matmul || role == Role::Block);
}

Codes codes_of(const Place& place, Role role, const std::vector<StoredPart>& stored, bool linear) {
  using kernels::Code;
  if (!is_matrix(stored)) return Codes::None;
  const bool block = role == Role::Block;
  if (block && is_int8(place.precision) && kernels::takes_rotation(stored[0].shape()[1], at::kFloat))
    return Codes::Int8;
  if (!linear || is_bf16(place, role, linear)) return Codes::None;
  if (block && place.kept == Kept::Fp8 && !is_stored_in(stored, {Code::E4M3, Code::E5M2})) return Codes::Fp8;
  if (block && place.kept == Kept::Int8 && !is_stored_in(stored, {Code::Int8})) return Codes::Int8Kept;
  const bool coded = std::any_of(stored.begin(), stored.end(), [](const StoredPart& part) { return part.is_coded(); });
  return coded ? Codes::Stored : Codes::None;
}

/// Whether layers can read the file's own tensors.
bool is_readable(const std::vector<StoredPart>& stored) {
  return std::all_of(stored.begin(), stored.end(), [](const StoredPart& part) {
    return !part.is_coded() && part.in_file && c10::elementSize(part.dtype()) > 1;
  });
}

}  // namespace

Place Place::on(at::Device device, at::ScalarType compute, Precision precision,
                std::shared_ptr<const kernels::Context> context, Kept kept) {
  return {.device = device,
          .compute = compute,
          .precision = precision,
          .mapped = device.is_cpu(),
          .context = std::move(context),
          .kept = kept};
}

Place Place::planned() const {
  Place place = *this;
  place.on_meta = true;
  return place;
}

Form form_of(const Place& place, Role role, const std::vector<StoredPart>& stored, bool linear,
             std::optional<at::ScalarType> own) {
  const Codes codes = codes_of(place, role, stored, linear);
  const bool rounded = is_bf16(place, role, linear) && codes == Codes::None;
  Form form{.residence = Residence::Copied,
            .codes = codes,
            .device = place.on_meta ? at::Device(at::kMeta) : place.device,
            .uploaded = rounded ? at::kBFloat16 : copied_dtype(role, stored[0].dtype(), place.compute),
            .dtype = at::kFloat};
  if (place.mapped || role == Role::Table) {
    const bool made = codes == Codes::Int8 || codes == Codes::Fp8 || codes == Codes::Int8Kept ||
                      (rounded && (stored[0].is_coded() || stored[0].dtype() != at::kBFloat16));
    if (made)
      form.residence = Residence::MadeAtUse;
    else if (codes == Codes::Stored || is_readable(stored))
      form.residence = Residence::Mapped;
  }
  // 8-bit rows are made from all bits that the file has; on a device, to which those need not cross, from `compute`.
  if (codes == Codes::Int8 && (form.residence == Residence::MadeAtUse || place.as_mapped)) form.uploaded = at::kFloat;
  // Layers convert at use what is no linear, and some (a bias in 8-bit products) take all of its bits.
  if (place.as_mapped && !linear && is_readable(stored)) form.uploaded = stored[0].dtype();
  form.dtype = own.value_or(form.uploaded);
  return form;
}

}  // namespace wan
