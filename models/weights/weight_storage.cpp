#include "models/weights/weight_storage.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "models/weights/encode.h"

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

/// A part's codes and the scale of each row, where our own products multiply them as they are: int8, a float32 scale
/// for each row or one for the matrix, rows rotated as quantise_rows does. Nothing for other parts.
std::optional<kernels::QuantisedRows> own_int8(const StoredPart& part) {
  if (!part.is_coded() || part.codes->coding->code != kernels::Code::Int8) return {};
  const kernels::CodedMatrix& matrix = *part.codes;
  if (!kernels::is_own_rotation(matrix.rotation, matrix.columns)) return {};
  const Tensor codes = matrix.codes.view(at::kChar), &scale = matrix.scale;
  // A scale of one value is the factor (models/weights/quantised/scales.h).
  if (!scale.defined()) return {{codes, at::full({matrix.rows()}, matrix.factor, codes.options().dtype(at::kFloat))}};
  const bool by_rows = matrix.scale_rows == 1 || scale.size(0) == 1;
  if (scale.scalar_type() != at::kFloat || scale.size(1) != 1 || !by_rows || matrix.factor != 1) return {};
  return {{codes, scale.flatten().expand({matrix.rows()}).contiguous()}};
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

uint64_t bytes_of(const std::vector<Tensor>& tensors) {
  uint64_t sum = 0;
  for (const Tensor& tensor : tensors) sum += tensor.nbytes();
  return sum;
}

HostPart kept_part(std::vector<Tensor> tensors, std::vector<HostPart::Target> to) {
  const uint64_t bytes = bytes_of(tensors);
  return {std::move(to), std::move(tensors), nullptr, bytes};
}

HostPart made_part(const Form& form, const std::vector<StoredPart>& parts, std::vector<HostPart::Target> to,
                   const kernels::Context& context) {
  Form on_host = form;
  on_host.device = at::kCPU;
  const uint64_t bytes = bytes_of(tensors_of(planned_copy(parts, form)));
  return {
      std::move(to), {}, [on_host, parts, &context] { return tensors_of(copy_of(parts, on_host, context)); }, bytes};
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

std::vector<HostPart> host_parts(const Form& form, const std::vector<StoredPart>& parts,
                                 const kernels::Context& context) {
  std::vector<HostPart> found;
  if (form.codes == Codes::Fp8 || form.codes == Codes::Int8Kept) {
    found.push_back(made_part(form, parts, {{0, 0}, {1, 0}}, context));
    return found;
  }
  size_t tensor = 0;    // of codes that the file keeps: each part has its own
  uint64_t offset = 0;  // of rows that are joined
  for (const StoredPart& part : parts) {
    if (form.codes == Codes::Int8) {
      const uint64_t rows = uint64_t(part.shape().at(0));
      const std::vector<HostPart::Target> to = {{0, offset * uint64_t(part.shape().at(1))},
                                                {1, offset * sizeof(float)}};
      offset += rows;
      if (const auto own = own_int8(part))
        found.push_back(kept_part({own->codes, own->scale}, to));
      else
        found.push_back(made_part(form, {part}, to, context));
    } else if (form.codes == Codes::Stored && part.is_coded()) {
      std::vector<Tensor> tensors;
      tensors.reserve(2);
      tensors.push_back(part.codes->codes);
      if (part.codes->scale.defined()) tensors.push_back(part.codes->scale.contiguous());
      std::vector<HostPart::Target> to;
      while (to.size() < tensors.size()) to.push_back({tensor++, 0});
      found.push_back(kept_part(std::move(tensors), std::move(to)));
    } else {
      const bool is_stored = !part.is_coded() && part.dtype() == form.dtype && part.values.is_contiguous();
      const std::vector<HostPart::Target> to = {{form.codes == Codes::Stored ? tensor++ : 0, offset}};
      Form floats = form;
      floats.codes = Codes::None;
      found.push_back(is_stored ? kept_part({part.values}, to) : made_part(floats, {part}, to, context));
      if (form.codes != Codes::Stored) offset += found.back().bytes;
    }
  }
  return found;
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
