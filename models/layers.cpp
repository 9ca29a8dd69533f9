#include "models/layers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/norm/norm.h"
#include "kernels/op/check.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

/// Weights that product, add_product or look_up alone see.
const Making kLinear = {.linear = true};

}  // namespace

at::ScalarType float32_dtype(at::ScalarType compute) {
  return kernels::accumulation(compute);
}

Linear::Linear(const Scope& at, int64_t in, int64_t out, at::ScalarType compute, Bias with, Role role)
    : compute(compute),
      weight(at.take("weight", {out, in}, role, kLinear)),
      bias(with == Bias::Yes ? at.take("bias", {out}, role) : Weight()) {}

Linear::Linear(const Scope& at, const std::vector<std::string_view>& names, int64_t in, int64_t out,
               at::ScalarType compute, Bias with, Role role)
    : compute(compute) {
  std::vector<Part> weights, biases;
  for (std::string_view name : names) {
    weights.push_back({std::string(name) + ".weight", {out, in}});
    biases.push_back({std::string(name) + ".bias", {out}});
  }
  weight = at.take(std::move(weights), role, kLinear);
  if (with == Bias::Yes) bias = at.take(std::move(biases), role);
}

Tensor Linear::operator()(const Operand& x, Activation activation) const {
  return product(x, weight, bias, activation, compute);
}

void Linear::add_to(Tensor& residual, const Tensor& x, const Tensor& gate, const kernels::Segments& ends) const {
  add_product(residual, x.to(compute), weight, bias, gate, ends);
}

MergedLinear::MergedLinear(const Scope& at, const std::vector<std::string_view>& names, int64_t in, int64_t out,
                           at::ScalarType compute, Bias with, Role role)
    : out(out) {
  if (at.place().joins_rows())
    parts.emplace_back(at, names, in, out, compute, with, role);
  else
    for (std::string_view name : names) parts.emplace_back(at / name, in, out, compute, with, role);
}

std::vector<Tensor> MergedLinear::operator()(const Operand& x) const {
  if (parts.size() == 1) return parts[0](x).split(out, -1);
  std::vector<Tensor> results;
  const Operand input = x.to(parts[0].compute);
  for (const Linear& part : parts) results.push_back(part(input));
  return results;
}

bool MergedLinear::takes_codes() const {
  return std::all_of(parts.begin(), parts.end(), [](const Linear& part) { return part.weight.takes_codes(); });
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
  return kernels::rms_norm(x, weight.tensor(), eps, weight.context());
}

LayerNorm::LayerNorm(const Scope& at, int64_t width, double eps)
    : weight(at.take("weight", {width}, Role::Float32)), bias(at.take("bias", {width}, Role::Float32)), eps(eps) {}

Tensor LayerNorm::operator()(const Tensor& x, at::ScalarType dtype) const {
  return kernels::layer_norm(x, weight.tensor(), bias.tensor(), eps, dtype, weight.context());
}

Embedding::Embedding(const Scope& at, int64_t rows, int64_t width)
    : weight(at.take("weight", {rows, width}, Role::Table, kLinear)) {}

Tensor Embedding::operator()(at::IntArrayRef ids, at::Device device, at::ScalarType dtype) const {
  for (int64_t id : ids)
    TORCH_CHECK(id >= 0 && id < weight.size(0), "[embedding] ids must be from 0 to ", weight.size(0) - 1, ", got ", id);
  return look_up(weight, ids).to(device, dtype);
}

}  // namespace wan
