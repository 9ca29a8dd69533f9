#include "models/matrix.h"

#include <ATen/ATen.h>

#include "kernels/hadamard.h"

namespace wan {

bool is_coded(Role role, int64_t in, Precision precision) {
  return role == Role::Block && precision != Precision::Exact && in % kernels::hadamard::kSlice == 0;
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

Tensor Matrix::product(const Tensor& x, const Tensor& bias, Activation activation) const {
  if (!coded) return kernels::linear(x, weight, bias, activation);
  return kernels::linear_int8(x, weight.defined() ? kernels::quantise_rows(weight) : rows, bias, activation);
}

bool Matrix::is_placed() const {
  return (weight.defined() && weight.is_cuda()) || rows.codes.defined();
}

}  // namespace wan
