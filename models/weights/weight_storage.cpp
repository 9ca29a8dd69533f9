#include "models/weights/weight_storage.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan {
namespace {

constexpr int64_t kPieceBytes = 64 << 20;

template <typename... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Match(Cases...) -> Match<Cases...>;

/// Converts piece by piece, so that the host never holds more than one piece beside the file. `to` is contiguous.
void upload(const Tensor& values, const Tensor& to) {
  const at::Tensor from = values.reshape({-1}), flat = to.view({-1});
  const int64_t piece = kPieceBytes / int64_t(std::max(from.itemsize(), flat.itemsize()));
  for (int64_t start = 0; start < from.numel(); start += piece) {
    const int64_t length = std::min(piece, from.numel() - start);
    flat.narrow(0, start, length).copy_(from.narrow(0, start, length).to(flat.scalar_type()));
  }
}

at::TensorOptions options(const Form& form, at::ScalarType dtype) {
  return at::TensorOptions(form.device).dtype(dtype);
}

}  // namespace

const Tensor& stored_tensor(const Storage& storage) {
  return std::visit(Match{[](const Floats& floats) -> const Tensor& { return floats.values; },
                          [](const Int8Rows& int8) -> const Tensor& { return int8.rows.codes; },
                          [](const Int8AtUse& int8) -> const Tensor& { return int8.mapped; }},
                    storage);
}

uint64_t bytes_of(const Storage& storage) {
  return std::visit(
      Match{[](const Floats& floats) { return floats.mapped ? 0 : uint64_t(floats.values.nbytes()); },
            [](const Int8Rows& int8) { return uint64_t(int8.rows.codes.nbytes() + int8.rows.scale.nbytes()); },
            [](const Int8AtUse&) { return uint64_t(0); }},
      storage);
}

Storage allocate(const Form& form, at::IntArrayRef shape) {
  if (form.codes == Codes::Int8)
    return Int8Rows{{at::empty(shape, options(form, at::kChar)), at::empty({shape[0]}, options(form, at::kFloat))}};
  return Floats{at::empty(shape, options(form, form.dtype)), /*mapped=*/false};
}

void fill(Storage& storage, const Form& form, int64_t first_row, const Tensor& values,
          const kernels::Context& context) {
  if (form.device.is_meta()) return;
  const auto rows_of = [&](const Tensor& all) { return all.narrow(0, first_row, values.size(0)); };
  std::visit(Match{[&](Floats& floats) { upload(values, rows_of(floats.values)); },
                   [&](Int8Rows& int8) {
                     const kernels::QuantisedRows rows = kernels::quantise_rows(copy(values, form), context);
                     rows_of(int8.rows.codes).copy_(rows.codes);
                     rows_of(int8.rows.scale).copy_(rows.scale);
                   },
                   [&](Int8AtUse& int8) { int8.mapped = values; }},
             storage);
}

Tensor copy(const Tensor& values, const Form& form) {
  const Tensor to = at::empty(values.sizes(), options(form, form.uploaded));
  if (!form.device.is_meta()) upload(values, to);
  return to.to(form.dtype);
}

}  // namespace wan
