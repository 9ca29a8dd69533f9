#include "models/weights/weight_storage.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>

#include "models/weights/encode.h"
#include "models/weights/own_int8.h"

namespace wan {
namespace {

constexpr int64_t kPieceBytes = 64 << 20;

template <typename... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Match(Cases...) -> Match<Cases...>;

/// Converts piece by piece where `to` lies, which holds one piece more meanwhile. `to` is contiguous.
void upload(const Tensor& values, const Tensor& to) {
  const at::Tensor from = values.reshape({-1}), flat = to.view({-1});
  const int64_t piece = kPieceBytes / int64_t(std::max(from.itemsize(), flat.itemsize()));
  for (int64_t start = 0; start < from.numel(); start += piece) {
    const int64_t length = std::min(piece, from.numel() - start);
    flat.narrow(0, start, length).copy_(from.narrow(0, start, length).to(flat.device()));
  }
}

at::TensorOptions options(const Form& form, at::ScalarType dtype) {
  return at::TensorOptions(form.device).dtype(dtype);
}

int64_t rows_of(const std::vector<StoredPart>& parts) {
  int64_t rows = 0;
  for (const StoredPart& part : parts) rows += part.shape().at(0);
  return rows;
}

/// Takes the rows from `first` on, of a matrix.
using TakeRows = std::function<void(int64_t first, const Tensor& rows)>;

/// The rows of all parts in `dtype` on the form's device, so many at a time that they are one piece in float32. Codes cross
/// to the device before they are widened.
void each_piece(const std::vector<StoredPart>& parts, const Form& form, at::ScalarType dtype,
                const kernels::Context& context, const TakeRows& take) {
  int64_t row = 0;
  for (const StoredPart& part : parts) {
    const int64_t rows = part.shape().at(0), columns = part.shape().at(1);
    const int64_t piece = std::max<int64_t>(kPieceBytes / int64_t(columns * sizeof(float)), 1);
    StoredPart here = part;
    if (part.is_coded() && part.codes->codes.device() != form.device)
      here = StoredPart(moved(*part.codes, form.device));
    for (int64_t first = 0; first < rows; first += piece) {
      const int64_t count = std::min(piece, rows - first);
      take(row + first, part.is_coded() ? kernels::widen(*here.codes, first, count, at::kFloat, context).to(dtype)
                                        : here.values.narrow(0, first, count).to(form.device, dtype));
    }
    row += rows;
  }
}

void fill_floats(const Tensor& to, const Form& form, const std::vector<StoredPart>& parts,
                 const kernels::Context& context) {
  int64_t row = 0;
  for (const StoredPart& part : parts) {
    const Tensor rows = to.narrow(0, row, part.shape().at(0));
    if (part.is_coded())
      each_piece({part}, form, to.scalar_type(), context,
                 [&](int64_t first, const Tensor& some) { rows.narrow(0, first, some.size(0)).copy_(some); });
    else
      upload(part.values, rows);
    row += rows.size(0);
  }
}

/// Codes of the file that fit are taken as they are; whatever else it has is quantised from its values.
void fill_int8(kernels::QuantisedRows& to, const Form& form, const std::vector<StoredPart>& parts,
               const kernels::Context& context) {
  int64_t row = 0;
  for (const StoredPart& part : parts) {
    const int64_t count = part.shape().at(0);
    const Tensor codes = to.codes.narrow(0, row, count), scale = to.scale.narrow(0, row, count);
    row += count;
    if (const auto own = own_int8(part)) {
      codes.copy_(own->codes);
      scale.copy_(own->scale);
      continue;
    }
    each_piece({part}, form, form.uploaded, context, [&](int64_t first, const Tensor& some) {
      const kernels::QuantisedRows rows = kernels::quantise_rows(some.to(form.dtype), context);
      codes.narrow(0, first, some.size(0)).copy_(rows.codes);
      scale.narrow(0, first, some.size(0)).copy_(rows.scale);
    });
  }
}

StoredPart allocate(const StoredPart& part, const Form& form) {
  if (part.is_coded()) return StoredPart(empty_like(*part.codes, form.device));
  return StoredPart(at::empty(part.values.sizes(), options(form, form.dtype)), /*in_file=*/false);
}

Storage allocate(const std::vector<StoredPart>& parts, const Form& form) {
  std::vector<int64_t> shape = parts.at(0).shape();
  shape.at(0) = rows_of(parts);
  switch (form.codes) {
    case Codes::None:
      break;
    case Codes::Int8:
      return Int8Rows{{at::empty(shape, options(form, at::kChar)), at::empty({shape[0]}, options(form, at::kFloat))}};
    case Codes::Stored: {
      InCodes in_codes{{}, /*mapped=*/false};
      for (const StoredPart& part : parts) in_codes.parts.push_back(allocate(part, form));
      return in_codes;
    }
    case Codes::Fp8:
      return InCodes{{row_codes(kernels::Code::E4M3, shape[0], shape.at(1), form.device)}, /*mapped=*/false};
    case Codes::Int8Kept:
      return InCodes{{row_codes(kernels::Code::Int8, shape[0], shape.at(1), form.device)}, /*mapped=*/false};
  }
  return Floats{at::empty(shape, options(form, form.dtype)), /*mapped=*/false};
}

void fill_codes(InCodes& to, const Form& form, const std::vector<StoredPart>& parts, const kernels::Context& context) {
  if (form.codes != Codes::Stored) {
    each_piece(parts, form, at::kFloat, context,
               [&](int64_t first, const Tensor& some) { quantise_into(*to.parts[0].codes, first, some); });
    return;
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool fits = parts[i].is_coded() ? to.parts[i].is_coded() && is_alike(*to.parts[i].codes, *parts[i].codes)
                                          : !to.parts[i].is_coded();
    if (!fits) to.parts[i] = allocate(parts[i], form);
    if (parts[i].is_coded())
      copy_codes(*to.parts[i].codes, *parts[i].codes);
    else
      upload(parts[i].values, to.parts[i].values);
  }
}

}  // namespace

const Tensor& stored_tensor(const Storage& storage) {
  const auto of_source = [](const StoredPart& source) -> const Tensor& {
    return source.is_coded() ? source.codes->codes : source.values;
  };
  return std::visit(Match{[](const Floats& floats) -> const Tensor& { return floats.values; },
                          [](const Int8Rows& int8) -> const Tensor& { return int8.rows.codes; },
                          [&](const InCodes& codes) -> const Tensor& { return of_source(codes.parts[0]); },
                          [&](const MadeAtUse& made) -> const Tensor& { return of_source(made.mapped); }},
                    storage);
}

std::vector<Tensor> tensors_of(const Storage& storage) {
  std::vector<Tensor> tensors;
  const auto add = [&](const StoredPart& part) {
    if (!part.is_coded()) return tensors.push_back(part.values);
    tensors.push_back(part.codes->codes);
    if (part.codes->scale.defined()) tensors.push_back(part.codes->scale);
  };
  std::visit(Match{[&](const Floats& floats) { tensors.push_back(floats.values); },
                   [&](const Int8Rows& int8) {
                     tensors = {int8.rows.codes, int8.rows.scale};
                   },
                   [&](const InCodes& codes) {
                     for (const StoredPart& part : codes.parts) add(part);
                   },
                   [&](const MadeAtUse& made) { add(made.mapped); }},
             storage);
  return tensors;
}

Storage in_memory(const Storage& like, std::span<const Tensor> memory) {
  size_t next = 0;
  const auto take = [&]() -> const Tensor& { return memory[next++]; };
  const auto part_in = [&](const StoredPart& part) {
    if (!part.is_coded()) return StoredPart(take(), /*in_file=*/false);
    kernels::CodedMatrix codes = *part.codes;
    codes.codes = take();
    if (codes.scale.defined()) codes.scale = take();
    return StoredPart(std::move(codes));
  };
  return std::visit(Match{[&](const Floats&) -> Storage {
                            return Floats{take(), /*mapped=*/false};
                          },
                          [&](const Int8Rows&) -> Storage {
                            const Tensor& codes = take();
                            return Int8Rows{{codes, take()}};
                          },
                          [&](const InCodes& codes) -> Storage {
                            InCodes in_codes{{}, /*mapped=*/false};
                            for (const StoredPart& part : codes.parts) in_codes.parts.push_back(part_in(part));
                            return in_codes;
                          },
                          [&](const MadeAtUse& made) -> Storage {
                            return MadeAtUse{part_in(made.mapped), made.form};
                          }},
                    like);
}

uint64_t bytes_of(const Storage& storage) {
  return std::visit(
      Match{[](const Floats& floats) { return floats.mapped ? 0 : uint64_t(floats.values.nbytes()); },
            [](const Int8Rows& int8) { return uint64_t(int8.rows.codes.nbytes() + int8.rows.scale.nbytes()); },
            [](const InCodes& codes) {
              uint64_t sum = 0;
              for (const StoredPart& part : codes.parts) sum += codes.mapped ? 0 : part.bytes();
              return sum;
            },
            [](const MadeAtUse&) { return uint64_t(0); }},
      storage);
}

Storage planned_copy(const std::vector<StoredPart>& parts, Form form) {
  form.device = at::kMeta;
  return allocate(parts, form);
}

Storage copy_of(const std::vector<StoredPart>& parts, const Form& form, const kernels::Context& context) {
  Storage storage = allocate(parts, form);
  fill(storage, form, parts, context);
  return storage;
}

void fill(Storage& storage, const Form& form, const std::vector<StoredPart>& parts, const kernels::Context& context) {
  if (form.device.is_meta()) return;
  std::visit(Match{[&](Floats& floats) { fill_floats(floats.values, form, parts, context); },
                   [&](Int8Rows& int8) { fill_int8(int8.rows, form, parts, context); },
                   [&](InCodes& codes) { fill_codes(codes, form, parts, context); }, [](MadeAtUse&) {}},
             storage);
}

Tensor copy(const Tensor& values, const Form& form) {
  const Tensor to = at::empty(values.sizes(), options(form, form.uploaded));
  if (!form.device.is_meta()) upload(values, to);
  return to.to(form.dtype);
}

}  // namespace wan
