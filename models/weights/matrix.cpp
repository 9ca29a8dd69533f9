#include "models/weights/matrix.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/dequantise/fp8_product.h"
#include "kernels/linear/int8.h"
#include "models/weights/branch.h"
#include "models/weights/storage_rows.h"

namespace wan {
namespace {

/// Whether E4M3 codes of this weight are multiplied as they are.
bool multiplies_fp8(const Weight& weight) {
  return weight.role() == Role::Block && weight.precision() == Precision::Fp8;
}

/// The rows of one part of a weight in codes.
Tensor part_product(const Tensor& x, const StoredPart& part, const Tensor& bias, Activation activation, bool fp8,
                    const kernels::Context& context) {
  if (!part.is_coded()) return kernels::linear(x, part.values, bias, activation, context);
  if (fp8 && kernels::takes_fp8(*part.codes)) return kernels::linear_fp8(x, *part.codes, bias, activation, context);
  return kernels::linear_coded(x, *part.codes, bias, activation, context);
}

/// All parts, side by side.
Tensor joined_product(const Tensor& x, const std::vector<StoredPart>& parts, const Tensor& bias, Activation activation,
                      bool fp8, const kernels::Context& context) {
  if (parts.size() == 1) return part_product(x, parts[0], bias, activation, fp8, context);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = 0;
  for (const StoredPart& part : parts) sizes.back() += part.shape()[0];
  const Tensor out = at::empty(sizes, x.options());
  int64_t first = 0;
  for (const StoredPart& part : parts) {
    const int64_t count = part.shape()[0];
    const Tensor some = bias.defined() ? bias.narrow(0, first, count) : bias;
    out.narrow(-1, first, count).copy_(part_product(x, part, some, activation, fp8, context));
    first += count;
  }
  return out;
}

/// A product that is not calculated yet, by storage.
struct Product {
  const Operand& x;
  const Tensor& bias;
  Activation activation;
  at::ScalarType compute;
  bool fp8;
  const kernels::Context& context;

  Tensor rows() const {
    TORCH_CHECK(!x.is_coded(), "[linear] codes need a weight that is multiplied in 8 bits, got another");
    return x.rows.to(compute);
  }

  Tensor operator()(const Floats& weight) const {
    return kernels::linear(rows(), weight.values, bias, activation, context);
  }
  Tensor operator()(const Int8Rows& weight) const {
    if (x.is_coded()) return kernels::linear_int8(x.codes, weight.rows, bias, compute, activation, context);
    return kernels::linear_int8(x.rows.to(compute), weight.rows, bias, activation, context);
  }
  Tensor operator()(const InCodes& weight) const {
    return joined_product(rows(), weight.parts, bias, activation, fp8, context);
  }
  Tensor operator()(const MadeAtUse& weight) const {
    return std::visit(*this, copy_of({weight.mapped}, weight.form, context));
  }
};

/// The same, added to a residual.
struct AddedProduct {
  Tensor& residual;
  const Tensor& x;
  const Tensor& bias;
  const Tensor& gate;
  const kernels::Segments& ends;
  bool fp8;
  const kernels::Context& context;

  void add(const Tensor& product) const { kernels::gated_residual_(residual, product, gate, ends, context); }

  void operator()(const Floats& weight) const {
    add(kernels::linear(x, weight.values, bias, Activation::None, context));
  }
  void operator()(const Int8Rows& weight) const {
    kernels::linear_int8_residual_(residual, x, weight.rows, bias, gate, ends, context);
  }
  void operator()(const InCodes& weight) const {
    add(joined_product(x, weight.parts, bias, Activation::None, fp8, context));
  }
  void operator()(const MadeAtUse& weight) const { std::visit(*this, copy_of({weight.mapped}, weight.form, context)); }
};

/// Of rows with a weight, apart from its branch.
Tensor plain_product(const Tensor& rows, const Weight& weight, const Storage& storage, const Tensor& bias) {
  const Operand operand(rows);
  return std::visit(
      Product{operand, bias, Activation::None, rows.scalar_type(), multiplies_fp8(weight), weight.context()}, storage);
}

/// Calls work(part, first row, rows) for each part of the weight.
template <typename Work>
void each_part(const Weight& weight, const Work& work) {
  int64_t first = 0;
  for (size_t i = 0; i < weight.parts().size(); ++i) {
    const int64_t count = weight.parts()[i].shape[0];
    work(i, first, count);
    first += count;
  }
}

bool is_defined(const Tensor& tensor) {
  return tensor.defined();
}

/// x times the factors; undefined ones are 1.
Tensor multiplied(const Tensor& x, const Tensor& factors) {
  if (!factors.defined()) return x;
  Tensor rows = at::empty_like(x);
  return at::mul_out(rows, x, factors);
}

/// x (W with its columns multiplied)^T + bias: the rows are multiplied in their place, for each part of the weight by
/// what is its own.
Tensor product_by_columns(const Tensor& x, const Weight& weight, const std::vector<Tensor>& columns,
                          const Tensor& bias) {
  if (std::none_of(columns.begin(), columns.end(), is_defined)) return plain_product(x, weight, weight.storage(), bias);
  if (columns.size() == 1) return plain_product(multiplied(x, columns[0]), weight, weight.storage(), bias);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const Tensor y = at::empty(sizes, x.options());
  each_part(weight, [&](size_t i, int64_t first, int64_t count) {
    const Tensor some = bias.defined() ? bias.narrow(0, first, count) : bias;
    y.narrow(-1, first, count)
        .copy_(plain_product(multiplied(x, columns[i]), weight, rows_of(weight.storage(), first, count), some));
  });
  return y;
}

/// Of the weight as its branch multiplies its rows and columns.
Tensor scaled_product(const Tensor& x, const Weight& weight, const Weight& bias) {
  const lora::Branch& branch = *weight.branch();
  const Tensor added = bias.tensor();
  if (branch.rows.empty()) return product_by_columns(x, weight, branch.columns, added);
  // A part with both is W (rows + columns - 1): a second product, of what the columns change.
  std::vector<Tensor> columns = branch.columns, changes(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!branch.has_both(i)) continue;
    changes[i] = columns[i] - 1;
    columns[i] = Tensor();
  }
  const Tensor y = product_by_columns(x, weight, columns, {});
  each_part(weight, [&](size_t i, int64_t first, int64_t count) {
    const Tensor some = y.narrow(-1, first, count);
    if (branch.rows[i].defined()) some.mul_(branch.rows[i]);
    if (branch.has_both(i))
      some.add_(plain_product(multiplied(x, changes[i]), weight, rows_of(weight.storage(), first, count), {}));
  });
  return added.defined() ? y.add_(added.to(x.scalar_type())) : y;
}

/// Of a weight with a branch, without an activation.
Tensor product_beside(const Operand& x, const Weight& weight, const Weight& bias, at::ScalarType compute) {
  TORCH_CHECK(!x.is_coded(), "[linear] a branch needs rows, got codes");
  const Tensor rows = x.rows.to(compute);
  return lora::added(scaled_product(rows, weight, bias), rows, *weight.branch(), weight.context());
}

}  // namespace

Tensor product(const Operand& x, const Weight& weight, const Weight& bias, Activation activation,
               at::ScalarType compute) {
  if (weight.branch()) return kernels::reference::activated(product_beside(x, weight, bias, compute), activation);
  return std::visit(Product{x, bias.tensor(), activation, compute, multiplies_fp8(weight), weight.context()},
                    weight.storage());
}

void add_product(Tensor& residual, const Tensor& x, const Weight& weight, const Weight& bias, const Tensor& gate,
                 const kernels::Segments& ends) {
  if (weight.branch()) {
    const Tensor y = product_beside(Operand(x), weight, bias, x.scalar_type());
    kernels::gated_residual_(residual, y, gate, ends, weight.context());
    return;
  }
  std::visit(AddedProduct{residual, x, bias.tensor(), gate, ends, multiplies_fp8(weight), weight.context()},
             weight.storage());
}

bool adds_apart(const Weight& weight) {
  return weight.branch() || std::holds_alternative<Floats>(weight.storage()) ||
         std::holds_alternative<InCodes>(weight.storage());
}

Tensor look_up(const Weight& table, at::IntArrayRef ids) {
  const InCodes* in_codes = std::get_if<InCodes>(&table.storage());
  if (!in_codes) return table.tensor().index_select(0, at::tensor(ids, at::kLong).to(table.device()));
  std::vector<Tensor> rows;
  for (int64_t id : ids)
    rows.push_back(kernels::widen(in_codes->parts.at(0).codes.value(), id, 1, at::kFloat, table.context()));
  return at::cat(rows);
}

}  // namespace wan
