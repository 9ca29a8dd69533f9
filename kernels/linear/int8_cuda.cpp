#include "kernels/linear/int8_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/linear/launch.h"
#include "kernels/op/binding.h"

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

bool takes_product(const Tensor& x, const QuantisedRows& weight, at::ScalarType dtype, const Context& context) {
  return takes_arrays(weight.codes, {weight.scale}, context) && x.device() == weight.codes.device() &&
         takes_int8(weight.codes.size(1), weight.codes.size(0), dtype);
}

using Launcher = decltype(&launch_int8_linear);

Launcher launcher_of(Instructions instructions) {
  return instructions == Instructions::Wgmma ? launch_int8_linear_sm90 : launch_int8_linear;
}

void launch_product(const Int8LinearArguments& a, const Tensor& on, at::ScalarType dtype, Launcher launch) {
  launch_on(on, [&](cudaStream_t stream) { return launch(a, element_of(dtype), stream); });
}

/// multiply_rows by this launcher.
std::optional<Tensor> multiply_rows_by(Launcher launch, const QuantisedRows& x, const QuantisedRows& weight,
                                       const Tensor& bias, Activation activation, at::ScalarType dtype,
                                       const Context& context) {
  if (!takes_product(x.codes, weight, dtype, context) || !takes_arrays(x.codes, {x.scale}, context) ||
      activation == Activation::Silu)
    return std::nullopt;
  Tensor out = at::empty({x.scale.numel(), weight.codes.size(0)}, x.codes.options().dtype(dtype));
  const Tensor offset = as_floats(bias);
  Int8LinearArguments a = product_of(x, weight, offset);
  a.out = out.data_ptr();
  a.gelu = activation == Activation::GeluTanh;
  launch_product(a, out, dtype, launch);
  return out;
}

}  // namespace

std::optional<QuantisedRows> quantise_rows(const Tensor& x, const Context& context) {
  if (!takes_arrays(x, {}, context) || !takes_rotation(x.size(-1), x.scalar_type())) return std::nullopt;
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
                                    Activation activation, at::ScalarType dtype, Instructions instructions,
                                    const Context& context) {
  if (instructions == Instructions::Wgmma && !has_wgmma(x.codes.device())) return std::nullopt;
  return multiply_rows_by(launcher_of(instructions), x, weight, bias, activation, dtype, context);
}

std::optional<Tensor> multiply_rows_in_turns(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                                             Activation activation, at::ScalarType dtype, const Context& context) {
  if (!has_wgmma(x.codes.device())) return std::nullopt;
  return multiply_rows_by(launch_int8_linear_sm90_in_turns, x, weight, bias, activation, dtype, context);
}

std::optional<Tensor> linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                                  Activation activation, const Context& context) {
  if (!takes_product(x, weight, x.scalar_type(), context)) return std::nullopt;
  const auto rows = cuda::quantise_rows(x.contiguous(), context);
  if (!rows) return std::nullopt;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.codes.size(0);
  auto out =
      multiply_rows(*rows, weight, bias, activation, x.scalar_type(), instructions_on(x.device(), context), context);
  if (out) *out = out->view(shape);
  return out;
}

bool takes_residual(const Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& gate,
                    const Segments& ends, const Context& context) {
  return takes_product(x, weight, x.scalar_type(), context) && takes_arrays(residual, {gate}, context) &&
         ends.size() <= size_t(kMaxSegments);
}

bool linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends, const Context& context) {
  if (!takes_residual(residual, x, weight, gate, ends, context)) return false;
  const auto rows = cuda::quantise_rows(x.contiguous(), context);
  if (!rows) return false;
  const Tensor offset = as_floats(bias);
  Int8LinearArguments a = product_of(*rows, weight, offset);
  a.residual = residual.data_ptr<float>();
  a.gate = floats(gate);
  a.tokens = int(ends.back());
  a.segments.count = int(ends.size());
  std::copy(ends.begin(), ends.end(), a.segments.ends);
  launch_product(a, x, x.scalar_type(), launcher_of(instructions_on(x.device(), context)));
  return true;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<QuantisedRows> quantise_rows(const Tensor&, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> multiply_rows(const QuantisedRows&, const QuantisedRows&, const Tensor&, Activation,
                                    at::ScalarType, Instructions, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> multiply_rows_in_turns(const QuantisedRows&, const QuantisedRows&, const Tensor&, Activation,
                                             at::ScalarType, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> linear_int8(const Tensor&, const QuantisedRows&, const Tensor&, Activation, const Context&) {
  return std::nullopt;
}

bool takes_residual(const Tensor&, const Tensor&, const QuantisedRows&, const Tensor&, const Segments&,
                    const Context&) {
  return false;
}

bool linear_int8_residual_(Tensor&, const Tensor&, const QuantisedRows&, const Tensor&, const Tensor&, const Segments&,
                           const Context&) {
  return false;
}

}  // namespace wan::kernels::cuda

#endif
