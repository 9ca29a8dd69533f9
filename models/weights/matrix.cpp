#include "models/weights/matrix.h"

#include <ATen/ATen.h>

#include "kernels/linear/int8.h"
#include "models/weights/scope.h"

namespace wan {

bool is_coded(Role role, int64_t in, Precision precision) {
  return role == Role::Block && precision != Precision::Exact && kernels::takes_rotation(in, at::kFloat);
}

Matrix::Matrix(const Scope& at, int64_t out, int64_t in, Role role)
    : coded(is_coded(role, in, at.precision())), weight(at.take("weight", {out, in}, role)) {
  if (!coded || !weight.defined() || !weight.is_cuda()) return;
  rows = kernels::quantise_rows(weight);
  weight.reset();
}

Matrix::Matrix(const std::vector<Matrix>& parts) : coded(parts.at(0).coded) {
  std::vector<Tensor> weights, codes, scales;
  for (const Matrix& part : parts) {
    weights.push_back(part.weight);
    codes.push_back(part.rows.codes);
    scales.push_back(part.rows.scale);
  }
  if (parts[0].weight.defined())
    weight = at::cat(weights);
  else
    rows = {at::cat(codes), at::cat(scales)};
}

kernels::QuantisedRows Matrix::codes() const {
  return weight.defined() ? kernels::quantise_rows(weight) : rows;
}

Tensor Matrix::product(const Operand& x, const Tensor& bias, Activation activation, at::ScalarType compute) const {
  TORCH_CHECK(coded || !x.is_coded(), "[Matrix] codes need a matrix in 8 bits");
  if (x.is_coded()) return kernels::linear_int8(x.codes, codes(), bias, compute, activation);
  const Tensor input = x.rows.to(compute);
  return coded ? kernels::linear_int8(input, codes(), bias, activation)
               : kernels::linear(input, weight, bias, activation);
}

void Matrix::add_product(Tensor& residual, const Tensor& x, const Tensor& bias, const Tensor& gate,
                         const kernels::Segments& ends) const {
  if (coded)
    kernels::linear_int8_residual_(residual, x, codes(), bias, gate, ends);
  else
    kernels::gated_residual_(residual, kernels::linear(x, weight, bias), gate, ends);
}

bool Matrix::is_placed() const {
  return (weight.defined() && !weight.is_cpu()) || rows.codes.defined();
}

}  // namespace wan
