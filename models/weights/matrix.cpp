#include "models/weights/matrix.h"

#include <ATen/ATen.h>

#include "kernels/linear/int8.h"

namespace wan {
namespace {

/// A product that is not calculated yet, by storage.
struct Product {
  const Operand& x;
  const Tensor& bias;
  Activation activation;
  at::ScalarType compute;
  const kernels::Context& context;

  Tensor operator()(const Floats& weight) const {
    TORCH_CHECK(!x.is_coded(), "[linear] codes need a weight in 8 bits, got one in ", weight.values.scalar_type());
    return kernels::linear(x.rows.to(compute), weight.values, bias, activation, context);
  }
  Tensor operator()(const Int8Rows& weight) const {
    if (x.is_coded()) return kernels::linear_int8(x.codes, weight.rows, bias, compute, activation, context);
    return kernels::linear_int8(x.rows.to(compute), weight.rows, bias, activation, context);
  }
  Tensor operator()(const Int8AtUse& weight) const {
    return (*this)(Int8Rows{kernels::quantise_rows(weight.mapped, context)});
  }
};

/// The same, added to a residual.
struct AddedProduct {
  Tensor& residual;
  const Tensor& x;
  const Tensor& bias;
  const Tensor& gate;
  const kernels::Segments& ends;
  const kernels::Context& context;

  void operator()(const Floats& weight) const {
    kernels::gated_residual_(residual, kernels::linear(x, weight.values, bias, Activation::None, context), gate, ends,
                             context);
  }
  void operator()(const Int8Rows& weight) const {
    kernels::linear_int8_residual_(residual, x, weight.rows, bias, gate, ends, context);
  }
  void operator()(const Int8AtUse& weight) const { (*this)(Int8Rows{kernels::quantise_rows(weight.mapped, context)}); }
};

}  // namespace

Tensor product(const Operand& x, const Weight& weight, const Weight& bias, Activation activation,
               at::ScalarType compute) {
  return std::visit(Product{x, bias.tensor(), activation, compute, weight.context()}, weight.storage());
}

void add_product(Tensor& residual, const Tensor& x, const Weight& weight, const Weight& bias, const Tensor& gate,
                 const kernels::Segments& ends) {
  std::visit(AddedProduct{residual, x, bias.tensor(), gate, ends, weight.context()}, weight.storage());
}

}  // namespace wan
