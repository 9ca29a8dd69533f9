#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/channel_norm.h"
#include "kernels/cuda.h"
#include "kernels/cuda_binding.h"

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

}  // namespace

std::optional<Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  if (!takes_arrays(x, {}) || !takes_row(x.size(-1), x.scalar_type())) return std::nullopt;
  Tensor factor = as_floats(weight), out = at::empty_like(x);
  const RmsNormArguments a{x.const_data_ptr(),     floats(factor),  out.data_ptr(),
                           x.numel() / x.size(-1), int(x.size(-1)), float(eps)};
  if (a.rows > INT32_MAX || !is_aligned(factor)) return std::nullopt;
  launch_on(x, [&](cudaStream_t stream) { return launch_rms_norm(a, element_of(x.scalar_type()), stream); });
  return out;
}

std::optional<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                 at::ScalarType dtype) {
  Tensor factor = as_floats(weight), offset = as_floats(bias);
  if (!takes_arrays(x, {factor, offset}) || !takes_dtype(dtype)) return std::nullopt;
  const Segments whole = {x.numel() / x.size(-1)};
  if (!takes_stream(x, whole)) return std::nullopt;
  LayerNormArguments a = rows_of(x, whole);
  a.multiplier = floats(factor);
  a.offset = floats(offset);
  return normed(a, x, eps, dtype);
}

std::optional<Tensor> modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale,
                                           const Segments& ends, double eps, at::ScalarType dtype) {
  if (!takes_arrays(x, {shift, scale}) || !takes_dtype(dtype) || !takes_stream(x, ends)) return std::nullopt;
  LayerNormArguments a = rows_of(x, ends);
  a.multiplier = floats(scale);
  a.offset = floats(shift);
  a.one = 1;
  return normed(a, x, eps, dtype);
}

bool gated_residual_(const Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends) {
  if (!takes_arrays(x, {y, gate}) || !takes_dtype(y.scalar_type()) || !takes_stream(x, ends)) return false;
  LayerNormArguments a = rows_of(x, ends);
  a.y = y.const_data_ptr();
  a.gate = floats(gate);
  launch_on(x, [&](cudaStream_t stream) { return launch_gated_residual(a, element_of(y.scalar_type()), stream); });
  return true;
}

std::optional<Tensor> gated_residual_norm_(const Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                           const Segments& ends, at::ScalarType dtype) {
  const bool modulated = next.shift.defined();
  Tensor factor = modulated ? next.scale : as_floats(next.weight),
         offset = modulated ? next.shift : as_floats(next.bias);
  // The kernel reads y and writes the norm in one dtype, and has one table of segments for gate and norm.
  if (!takes_arrays(x, {y, gate, factor, offset}) || y.scalar_type() != dtype || !takes_dtype(dtype) ||
      !takes_stream(x, ends) || (!modulated && ends.size() > 1)) {
    return std::nullopt;
  }
  LayerNormArguments a = rows_of(x, ends);
  a.y = y.const_data_ptr();
  a.gate = floats(gate);
  a.multiplier = floats(factor);
  a.offset = floats(offset);
  a.one = modulated ? 1 : 0;
  return normed(a, x, next.eps, dtype);
}

bool channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out) {
  Tensor factor = as_floats(gamma);
  if (!takes_arrays(x, {factor, out}) || !takes_pixel(x.size(-1), x.scalar_type(), out.scalar_type())) return false;
  const int64_t pixels = x.numel() / x.size(-1);
  if (pixels > INT32_MAX) return false;
  const ChannelNormArguments a{x.const_data_ptr(), floats(factor), out.data_ptr(), pixels, int(x.size(-1)), activate};
  launch_on(x, [&](cudaStream_t stream) {
    return launch_channel_norm(a, element_of(x.scalar_type()), element_of(out.scalar_type()), stream);
  });
  return true;
}

}  // namespace wan::kernels::cuda
