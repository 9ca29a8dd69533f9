#include "kernels/op/cuda_int8.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/binding.h"
#include "kernels/op/launch_int8.h"

namespace wan::kernels::cuda {
namespace {

/// Everything but where the result goes. The tensors behind the pointers must outlive it.
Int8LinearArguments product_of(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias) {
  Int8LinearArguments a{};
  a.x = x.codes.const_data_ptr<int8_t>();
  a.x_scale = floats(x.scale);
  a.weight = weight.codes.const_data_ptr<int8_t>();
  a.weight_scale = floats(weight.scale);
  a.bias = floats(bias);
  a.rows = int(x.scale.numel());
  a.channels = int(weight.codes.size(0));
  a.depth = int(weight.codes.size(1));
  a.tokens = a.rows;
  return a;
}

bool takes_product(const Tensor& x, const QuantisedRows& weight, at::ScalarType dtype) {
  return takes_arrays(weight.codes, {weight.scale}) && x.device() == weight.codes.device() &&
         takes_int8(weight.codes.size(1), weight.codes.size(0), dtype);
}

void launch_product(const Int8LinearArguments& a, const Tensor& on, at::ScalarType dtype, Product product) {
  auto* launch = product == Product::Wgmma ? launch_int8_linear_sm90 : launch_int8_linear;
  launch_on(on, [&](cudaStream_t stream) { return launch(a, element_of(dtype), stream); });
}

}  // namespace

std::optional<QuantisedRows> quantise_rows(const Tensor& x) {
  if (!takes_arrays(x, {}) || !takes_rotation(x.size(-1), x.scalar_type())) return std::nullopt;
  const int64_t rows = x.numel() / x.size(-1);
  if (rows > INT32_MAX) return std::nullopt;
  QuantisedRows out = {at::empty(x.sizes(), x.options().dtype(at::kChar)),
                       at::empty(x.sizes().slice(0, x.dim() - 1), x.options().dtype(at::kFloat))};
  const QuantiseRowsArguments a{x.const_data_ptr(), out.codes.data_ptr<int8_t>(), out.scale.data_ptr<float>(), rows,
                                int(x.size(-1))};
  launch_on(x, [&](cudaStream_t stream) { return launch_quantise_rows(a, element_of(x.scalar_type()), stream); });
  return out;
}

std::optional<Tensor> multiply_rows(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                    Activation activation, at::ScalarType dtype, Product product) {
  if (!takes_product(x.codes, weight, dtype) || !takes_arrays(x.codes, {x.scale}) || activation == Activation::Silu)
    return std::nullopt;
  if (product == Product::Wgmma && !has_wgmma(x.codes.device())) return std::nullopt;
  Tensor out = at::empty({x.scale.numel(), weight.codes.size(0)}, x.codes.options().dtype(dtype));
  const Tensor offset = as_floats(bias);
  Int8LinearArguments a = product_of(x, weight, offset);
  a.out = out.data_ptr();
  a.gelu = activation == Activation::GeluTanh;
  launch_product(a, out, dtype, product);
  return out;
}

std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation) {
  if (!takes_product(x, weight, x.scalar_type())) return std::nullopt;
  const auto rows = quantise_rows(x.contiguous());
  if (!rows) return std::nullopt;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.codes.size(0);
  auto out = multiply_rows(*rows, weight, bias, activation, x.scalar_type(), product_on(x.device()));
  if (out) *out = out->view(shape);
  return out;
}

bool takes_residual(const Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& gate,
                    const Segments& ends) {
  return takes_product(x, weight, x.scalar_type()) && takes_arrays(residual, {gate}) &&
         ends.size() <= size_t(kMaxSegments);
}

bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends) {
  if (!takes_residual(residual, x, weight, gate, ends)) return false;
  const auto rows = quantise_rows(x.contiguous());
  if (!rows) return false;
  const Tensor offset = as_floats(bias);
  Int8LinearArguments a = product_of(*rows, weight, offset);
  a.residual = residual.data_ptr<float>();
  a.gate = floats(gate);
  a.tokens = int(ends.back());
  a.segments.count = int(ends.size());
  std::copy(ends.begin(), ends.end(), a.segments.ends);
  launch_product(a, x, x.scalar_type(), product_on(x.device()));
  return true;
}

}  // namespace wan::kernels::cuda
