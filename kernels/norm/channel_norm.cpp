#include "kernels/norm/channel_norm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "kernels/norm/launch.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/pieces.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

/// Values that one core takes through all operations while they are in its cache: 256 KiB in float32.
constexpr int64_t kBlock = int64_t(1) << 16;
/// Pixels whose values fill vectors whatever the channels: what is left over would come from other instructions.
constexpr int64_t kWhole = 32;

/// Of pixels [n, C] on the CPU: the bits of a pixel do not depend on how many there are.
void norm_of_pixels(const Tensor& pixels, const Tensor& bias, const Tensor& gamma, bool activate, const Tensor& out) {
  const int64_t count = pixels.size(0), whole = (count + kWhole - 1) / kWhole * kWhole;
  if (count == whole) return reference::biased_channel_norm_silu(pixels, bias, gamma, activate, out);
  Tensor padded = at::zeros({whole, pixels.size(1)}, pixels.options());
  padded.narrow(0, 0, count).copy_(pixels);
  const Tensor y = at::empty(padded.sizes(), out.options());
  reference::biased_channel_norm_silu(padded, bias, gamma, activate, y);
  Tensor(out).copy_(y.narrow(0, 0, count));
}

}  // namespace

bool takes_pixel(int64_t channels, at::ScalarType in, at::ScalarType out) {
  return takes_dtype(in) && takes_dtype(out) && (in == out || in == at::kFloat) && channels >= 1 &&
         channels <= kMaxPixelChannels;
}

bool adds_bias(const Tensor& x, const Context& context) {
  return use_fused(x, context) && takes_dtype(x.scalar_type());
}

void channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out, const Context& context) {
  biased_channel_norm_silu(x, {}, gamma, activate, out, context);
}

void biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out, const Context& context) {
  const int64_t channels = gamma.numel();
  TORCH_CHECK(gamma.dim() == 1 && x.dim() >= 1 && x.size(-1) == channels && out.sizes() == x.sizes(),
              "[channel_norm_silu] x and out must be [..., C] with C = gamma's, got ", x.sizes(), ", ", out.sizes(),
              " and ", gamma.sizes());
  TORCH_CHECK(x.is_contiguous() && out.is_contiguous(),
              "[channel_norm_silu] x and out must be contiguous, got strides ", x.strides(), " and ", out.strides());
  if (bias.defined()) check_shape("channel_norm_silu", "bias", bias, {channels});
  if (x.numel() == 0) return;
  const Range range("channel_norm_silu", [&] { return pass_work({x, out}); });
  if (cuda::biased_channel_norm_silu(x, bias, gamma, activate, out, context)) return;
  if (!x.is_cpu()) return reference::biased_channel_norm_silu(x, bias, gamma, activate, out);
  const Tensor pixels = x.view({-1, channels}), result = out.view({-1, channels});
  const int64_t step = std::max<int64_t>(kBlock / channels / kWhole, 1) * kWhole;
  in_pieces((pixels.size(0) + step - 1) / step, [&](int64_t piece) {
    const int64_t start = piece * step, count = std::min(step, pixels.size(0) - start);
    norm_of_pixels(pixels.narrow(0, start, count), bias, gamma, activate, result.narrow(0, start, count));
  });
}

namespace reference {

void channel_norm_silu(const Tensor& x, const Tensor& gamma, bool activate, const Tensor& out) {
  biased_channel_norm_silu(x, {}, gamma, activate, out);
}

void biased_channel_norm_silu(const Tensor& x, const Tensor& bias, const Tensor& gamma, bool activate,
                              const Tensor& out) {
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor values = bias.defined() ? x.to(wide) + bias.to(wide) : x.to(wide);
  const Tensor norm = at::linalg_vector_norm(values, 2, at::IntArrayRef{-1}, /*keepdim=*/true).clamp_min_(1e-12);
  Tensor y = out.scalar_type() == wide ? out : at::empty_like(values);
  at::div_out(y, values, norm);
  y.mul_(gamma.to(wide) * std::sqrt(double(gamma.numel())));
  if (activate) at::silu_(y);
  if (!y.is_same(out)) out.copy_(y);
}

}  // namespace reference
}  // namespace wan::kernels
