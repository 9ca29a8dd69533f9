#include "models/layers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/norm/norm.h"
#include "kernels/op/check.h"
#include "models/weights/scope.h"

namespace wan {

at::ScalarType float32_dtype(at::ScalarType compute) {
  return kernels::accumulation(compute);
}

Linear::Linear(const Scope& at, int64_t in, int64_t out, at::ScalarType compute, Bias with, Role role)
    : compute(compute), matrix(at, out, in, role), bias(with == Bias::Yes ? at.take("bias", {out}, role) : Tensor()) {}

Tensor Linear::operator()(const Operand& x, Activation activation) const {
  return matrix.product(x, bias, activation, compute);
}

void Linear::add_to(Tensor& residual, const Tensor& x, const Tensor& gate, const kernels::Segments& ends) const {
  matrix.add_product(residual, x.to(compute), bias, gate, ends);
}

MergedLinear::MergedLinear(const Scope& at, const std::vector<std::string_view>& names, int64_t in, int64_t out,
                           at::ScalarType compute, Bias with, Role role)
    : compute(compute), out(out) {
  for (std::string_view name : names) parts.emplace_back(at / name, in, out, compute, with, role);
  if (!std::all_of(parts.begin(), parts.end(), [](const Linear& part) { return part.matrix.is_placed(); })) return;
  std::vector<Matrix> matrices;
  std::vector<Tensor> biases;
  for (const Linear& part : parts) {
    matrices.push_back(part.matrix);
    if (part.bias.defined()) biases.push_back(part.bias);
  }
  matrix.emplace(matrices);
  if (biases.size() == matrices.size()) bias = at::cat(biases);
  parts.clear();
}

std::vector<Tensor> MergedLinear::operator()(const Operand& x) const {
  if (matrix) return matrix->product(x, bias, Activation::None, compute).split(out, -1);
  std::vector<Tensor> results;
  const Operand input = x.to(compute);
  for (const Linear& part : parts) results.push_back(part(input));
  return results;
}

bool MergedLinear::is_coded() const {
  return matrix ? matrix->coded : parts[0].matrix.coded;
}

Mlp::Mlp(const Scope& at, int64_t in, int64_t hidden, int64_t out, Activation activation, at::ScalarType compute,
         Role role)
    : first(at / 0, in, hidden, compute, Bias::Yes, role),
      second(at / 2, hidden, out, compute, Bias::Yes, role),
      activation(activation) {}

Tensor Mlp::operator()(const Operand& x) const {
  return second(first(x, activation));
}

void Mlp::add_to(Tensor& residual, const Operand& x, const Tensor& gate, const kernels::Segments& ends) const {
  second.add_to(residual, first(x, activation), gate, ends);
}

RmsNorm::RmsNorm(const Scope& at, int64_t width, double eps)
    : weight(at.take("weight", {width}, Role::Float32)), eps(eps) {}

Tensor RmsNorm::operator()(const Tensor& x) const {
  return kernels::rms_norm(x, weight, eps);
}

LayerNorm::LayerNorm(const Scope& at, int64_t width, double eps)
    : weight(at.take("weight", {width}, Role::Float32)), bias(at.take("bias", {width}, Role::Float32)), eps(eps) {}

Tensor LayerNorm::operator()(const Tensor& x, at::ScalarType dtype) const {
  return kernels::layer_norm(x, weight, bias, eps, dtype);
}

Embedding::Embedding(const Scope& at, int64_t rows, int64_t width)
    : weight(at.take("weight", {rows, width}, Role::Table)) {}

Tensor Embedding::operator()(at::IntArrayRef ids, at::Device device, at::ScalarType dtype) const {
  for (int64_t id : ids)
    TORCH_CHECK(id >= 0 && id < weight.size(0), "[embedding] ids must be from 0 to ", weight.size(0) - 1, ", got ", id);
  Tensor index = at::tensor(ids, at::kLong).to(weight.device());
  return weight.index_select(0, index).to(device, dtype);
}

}  // namespace wan
