#include "kernels/norm/norm_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/norm/channel_norm.h"
#include "kernels/norm/launch.h"
#include "kernels/op/binding.h"

namespace wan::kernels::cuda {
namespace {

/// x [B, L, C] with the segments of its tokens; everything else is left empty.
LayerNormArguments rows_of(const Tensor& x, const Segments& ends) {
  LayerNormArguments a{};
  a.x = x.data_ptr<float>();
  a.rows = x.numel() / x.size(-1);
  a.tokens = int(ends.back());
  a.channels = int(x.size(-1));
  a.segments.count = int(ends.size());
  std::copy(ends.begin(), ends.end(), a.segments.ends);
  return a;
}

bool takes_stream(const Tensor& x, const Segments& ends) {
  return x.scalar_type() == at::kFloat && takes_row(x.size(-1), at::kFloat) && ends.size() <= size_t(kMaxSegments) &&
         x.numel() / std::max<int64_t>(x.size(-1), 1) <= INT32_MAX;
}

/// Runs the norm that `a` describes into a new tensor of x's shape.
Tensor normed(LayerNormArguments& a, const Tensor& x, double eps, at::ScalarType dtype) {
  Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  a.out = out.data_ptr();
  a.eps = float(eps);
  launch_on(x, [&](cudaStream_t stream) { return launch_layer_norm(a, element_of(dtype), stream); });
  return out;
}

/// The same into codes; `dtype` is that of the residual, if there is one.
QuantisedRows quantised(LayerNormArguments& a, const Tensor& x, double eps, at::ScalarType dtype) {
  QuantisedRows out = {at::empty(x.sizes(), x.options().dtype(at::kChar)),
                       at::empty(x.sizes().slice(0, x.dim() - 1), x.options())};
  a.eps = float(eps);
  const LayerNormInt8Arguments all{a, out.codes.data_ptr<int8_t>(), out.scale.data_ptr<float>()};
  launch_on(x, [&](cudaStream_t stream) { return launch_layer_norm_int8(all, element_of(dtype), stream); });
  return out;
}

/// x with its modulation rows, before its norm.
LayerNormArguments modulated(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends) {
  LayerNormArguments a = rows_of(x, ends);
  a.multiplier = floats(scale);
  a.offset = floats(shift);
  a.one = 1;
  return a;
}

/// The rows of a norm behind a residual, one for each segment, as the kernels read them.
struct NextRows {
  Tensor multiplier, offset;

  NextRows(const NextNorm& next, const Segments& ends)
      : multiplier(next.shift.defined() ? next.scale : repeated(next.weight, ends)),
        offset(next.shift.defined() ? next.shift : repeated(next.bias, ends)) {}

 private:
  static Tensor repeated(const Tensor& parameter, const Segments& ends) {
    return parameter.defined() ? as_floats(parameter.expand({int64_t(ends.size()), -1})) : parameter;
  }
};

/// x with what is added to it, before the norm that `rows` of `next` describe. Tensors must outlive it.
LayerNormArguments residual(const Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                            const NextRows& rows, const Segments& ends) {
  LayerNormArguments a = rows_of(x, ends);
  a.y = y.const_data_ptr();
  a.gate = floats(gate);
  a.multiplier = floats(rows.multiplier);
  a.offset = floats(rows.offset);
  a.one = next.shift.defined() ? 1 : 0;
  return a;
}

}  // namespace

std::optional<Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps, const Context& context) {
  if (!takes_arrays(x, {}, context) || !takes_row(x.size(-1), x.scalar_type())) return std::nullopt;
  Tensor factor = as_floats(weight), out = at::empty_like(x);
  const RmsNormArguments a{x.const_data_ptr(),     floats(factor),  out.data_ptr(),
                           x.numel() / x.size(-1), int(x.size(-1)), float(eps)};
  if (a.rows > INT32_MAX || !is_aligned(factor)) return std::nullopt;
  launch_on(x, [&](cudaStream_t stream) { return launch_rms_norm(a, element_of(x.scalar_type()), stream); });
  return out;
}

std::optional<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                 at::ScalarType dtype, const Context& context) {
  Tensor factor = as_floats(weight), offset = as_floats(bias);
  if (!takes_arrays(x, {factor, offset}, context) || !takes_dtype(dtype)) return std::nullopt;
  const Segments whole = {x.numel() / x.size(-1)};
  if (!takes_stream(x, whole)) return std::nullopt;
  LayerNormArguments a = rows_of(x, whole);
  a.multiplier = floats(factor);
  a.offset = floats(offset);
  return normed(a, x, eps, dtype);
}

std::optional<Tensor> modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                           const Segments& ends, double eps, at::ScalarType dtype,
                                           const Context& context) {
  if (!takes_arrays(x, {shift, scale}, context) || !takes_dtype(dtype) || !takes_stream(x, ends)) return std::nullopt;
  LayerNormArguments a = modulated(x, shift, scale, ends);
  return normed(a, x, eps, dtype);
}

std::optional<QuantisedRows> modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                                       const Segments& ends, double eps, const Context& context) {
  if (!takes_arrays(x, {shift, scale}, context) || !takes_norm_int8(x.size(-1), at::kFloat) || !takes_stream(x, ends))
    return std::nullopt;
  LayerNormArguments a = modulated(x, shift, scale, ends);
  return quantised(a, x, eps, at::kFloat);
}

bool gated_residual_(const Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends,
                     const Context& context) {
  if (!takes_arrays(x, {y, gate}, context) || !takes_dtype(y.scalar_type()) || !takes_stream(x, ends)) return false;
  LayerNormArguments a = rows_of(x, ends);
  a.y = y.const_data_ptr();
  a.gate = floats(gate);
  launch_on(x, [&](cudaStream_t stream) { return launch_gated_residual(a, element_of(y.scalar_type()), stream); });
  return true;
}

std::optional<Tensor> gated_residual_norm_(const Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                           const Segments& ends, at::ScalarType dtype, const Context& context) {
  // The kernel reads y and writes the norm in one dtype. An affine norm behind a gate with segments stays ATen's.
  if (!next.shift.defined() && ends.size() > 1) return std::nullopt;
  const NextRows rows(next, ends);
  if (!takes_arrays(x, {y, gate, rows.multiplier, rows.offset}, context) || y.scalar_type() != dtype ||
      !takes_dtype(dtype) || !takes_stream(x, ends)) {
    return std::nullopt;
  }
  LayerNormArguments a = residual(x, y, gate, next, rows, ends);
  return normed(a, x, next.eps, dtype);
}

std::optional<QuantisedRows> gated_residual_norm_int8_(const Tensor& x, const Tensor& y, const Tensor& gate,
                                                       const NextNorm& next, const Segments& ends,
                                                       const Context& context) {
  const NextRows rows(next, ends);
  if (!takes_arrays(x, {y, gate, rows.multiplier, rows.offset}, context) ||
      !takes_norm_int8(x.size(-1), y.scalar_type()) || !takes_stream(x, ends)) {
    return std::nullopt;
  }
  LayerNormArguments a = residual(x, y, gate, next, rows, ends);
  return quantised(a, x, next.eps, y.scalar_type());
}

bool biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out, const Context& context) {
  const Tensor factor = as_floats(gamma), offset = as_floats(bias);
  if (!takes_arrays(x, {factor, offset, out}, context) || !takes_pixel(x.size(-1), x.scalar_type(), out.scalar_type()))
    return false;
  const int64_t pixels = x.numel() / x.size(-1);
  if (pixels > INT32_MAX) return false;
  const ChannelNormArguments a{x.const_data_ptr(), floats(factor), out.data_ptr(), pixels,
                               int(x.size(-1)),    activate,       floats(offset)};
  launch_on(x, [&](cudaStream_t stream) {
    return launch_channel_norm(a, element_of(x.scalar_type()), element_of(out.scalar_type()), stream);
  });
  return true;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<Tensor> rms_norm(const Tensor&, const Tensor&, double, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> layer_norm(const Tensor&, const Tensor&, const Tensor&, double, at::ScalarType, const Context&) {
  return std::nullopt;
}

std::optional<Tensor> modulated_layer_norm(const Tensor&, const Tensor&, const Tensor&, const Segments&, double,
                                           at::ScalarType, const Context&) {
  return std::nullopt;
}

bool gated_residual_(const Tensor&, const Tensor&, const Tensor&, const Segments&, const Context&) {
  return false;
}

std::optional<Tensor> gated_residual_norm_(const Tensor&, const Tensor&, const Tensor&, const NextNorm&,
                                           const Segments&, at::ScalarType, const Context&) {
  return std::nullopt;
}

std::optional<QuantisedRows> modulated_layer_norm_int8(const Tensor&, const Tensor&, const Tensor&, const Segments&,
                                                       double, const Context&) {
  return std::nullopt;
}

std::optional<QuantisedRows> gated_residual_norm_int8_(const Tensor&, const Tensor&, const Tensor&, const NextNorm&,
                                                       const Segments&, const Context&) {
  return std::nullopt;
}

bool biased_channel_norm_silu(const Tensor&, const Tensor&, const Tensor&, bool, const Tensor&, const Context&) {
  return false;
}

}  // namespace wan::kernels::cuda

#endif
