#include "kernels/convolution/conv3d.h"

#include <ATen/ATen.h>

#include "kernels/convolution/convolution_check.h"
#include "kernels/convolution/convolution_cpu.h"
#include "kernels/linear/linear.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

/// [T, H, W, C] as T images [T, C, H, W] in ATen's channels-last format, and back: the same memory.
Tensor as_images(const Tensor& clip) {
  return clip.permute({0, 3, 1, 2});
}
Tensor as_clip(const Tensor& images) {
  return images.permute({0, 2, 3, 1});
}

/// The convolutions of ATen, which asks cuDNN for them.
struct Library {
  static Tensor images(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t stride,
                       at::IntArrayRef padding) {
    return at::conv2d(x, taps, bias, stride, padding);
  }
  static Tensor volume(const Tensor& x, const Tensor& taps, const Tensor& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding) {
    return at::conv3d(x, taps, bias, stride, padding);
  }
};

/// ATen's own: each window of the input as a column, then a matrix product.
struct Unfolding {
  static Tensor images(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t stride,
                       at::IntArrayRef padding) {
    return at::slow_conv_dilated2d(x, taps, taps.sizes().slice(2), bias, {stride, stride}, padding, {1, 1});
  }
  static Tensor volume(const Tensor& x, const Tensor& taps, const Tensor& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding) {
    return at::slow_conv_dilated3d(x, taps, taps.sizes().slice(2), bias, stride, padding, {1, 1, 1});
  }
};

// The operations, with weight and bias in x's dtype.

template <typename By>
Tensor convolve(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t time_stride) {
  const int64_t rows = taps.size(3) / 2, columns = taps.size(4) / 2;
  if (taps.size(2) == 1 && time_stride == 1)
    return as_clip(By::images(as_images(x), taps.squeeze(2), bias, 1, {rows, columns})).contiguous();
  Tensor y = By::volume(x.permute({3, 0, 1, 2}).unsqueeze(0), taps, bias, {time_stride, 1, 1}, {0, rows, columns});
  return y.squeeze(0).permute({1, 2, 3, 0}).contiguous();
}

template <typename By>
Tensor convolve_down(const Tensor& x, const Tensor& taps, const Tensor& bias) {
  // Two zeros on every side instead of one on two sides: the windows of the result start one output later, and no
  // padded copy of the frame is made.
  Tensor y = By::images(as_images(x), taps, bias, 2, {2, 2});
  return as_clip(y).slice(1, 1, 1 + x.size(1) / 2).slice(2, 1, 1 + x.size(2) / 2).contiguous();
}

/// `part` gives the pixels of one parity of rows and columns, [T, H, W, Cout].
template <typename Part>
Tensor interleaved(const Tensor& x, int64_t channels, Part part) {
  const int64_t frames = x.size(0), height = x.size(1), width = x.size(2);
  Tensor y = at::empty({frames, height, 2, width, 2, channels}, x.options());
  for (int64_t parity = 0; parity < 4; ++parity)
    y.select(4, parity % 2).select(2, parity / 2).copy_(part(parity / 2, parity % 2));
  return y.view({frames, 2 * height, 2 * width, channels});
}

template <typename By>
Tensor convolve_up(const Tensor& x, const Tensor& taps, const Tensor& bias) {
  return interleaved(x, taps.size(1), [&](int64_t row, int64_t column) {
    // With padding 1 the windows start one pixel before the frame: those of even rows; odd rows start one later.
    const Tensor whole = as_clip(By::images(as_images(x), taps[2 * row + column], bias, 1, {1, 1}));
    return whole.narrow(1, row, x.size(1)).narrow(2, column, x.size(2));
  });
}

void check_conv3d(const Tensor& x, const Tensor& weight) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 5 && weight.size(1) == x.size(3) && x.size(0) >= weight.size(2),
              "[conv3d] x must be [T, H, W, Cin] with the weight's Cin and at least its frames, got ", x.sizes(),
              " and weight ", weight.sizes());
}

void check_down(const Tensor& x, const Tensor& weight) {
  TORCH_CHECK(x.dim() == 4 && x.size(1) >= 2 && x.size(2) >= 2 && weight.dim() == 4 && weight.size(1) == x.size(3),
              "[conv2d_down] x must be [T, H, W, Cin] with the weight's Cin and H, W >= 2, got ", x.sizes(),
              " and weight ", weight.sizes());
}

void check_up(const Tensor& x, const Tensor& folded) {
  TORCH_CHECK(x.dim() == 4 && folded.dim() == 5 && folded.size(0) == 4 && folded.size(2) == x.size(3),
              "[conv2d_up] x must be [T, H, W, Cin] with the folded weight's Cin, got ", x.sizes(), " and weight ",
              folded.sizes());
}

/// Of a convolution to `out` channels at so many places, each of which sees `products` values.
RangeWork convolution_work(const Tensor& x, double places, int64_t products, int64_t out) {
  return {.flops = 2 * places * double(products) * double(out),
          .bytes = double(x.nbytes()) + places * double(out) * double(x.element_size()),
          .ceiling = ceiling_of(x.scalar_type()),
          .rows = int64_t(places),
          .in = products,
          .out = out};
}

/// The bias in x's dtype. Without one: nothing, where the library then leaves out a pass; on the CPU, which begins its
/// sums with it, zeros.
Tensor offset_of(const Tensor& bias, const Tensor& taps, const Tensor& x) {
  if (bias.defined()) return bias.to(x.scalar_type());
  return x.is_cpu() ? at::zeros({taps.size(0)}, x.options()) : Tensor();
}

bool is_checked(const Tensor& x) {
  return x.is_cuda() && x.element_size() == 2;
}

}  // namespace

Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t time_stride, const Context& context) {
  check_conv3d(x, weight);
  const Range range("conv3d", [&] {
    const int64_t frames = (x.size(0) - weight.size(2)) / time_stride + 1;
    return convolution_work(x, double(frames * x.size(1) * x.size(2)), weight[0].numel(), weight.size(0));
  });
  const Tensor taps = weight.to(x.scalar_type()), offset = offset_of(bias, taps, x);
  const int64_t rows = taps.size(3) / 2, columns = taps.size(4) / 2;
  if (x.is_cpu()) return convolve_on_cpu(x, taps, offset, {rows, rows, columns, columns, 1, time_stride});
  Tensor y = convolve<Library>(x, taps, offset, time_stride);
  if (is_checked(x)) check_convolution_once(described_conv3d(taps, offset, time_stride), x, y, context);
  return y;
}

Tensor conv_pixels(const Tensor& x, const Tensor& weight, const Tensor& bias, const Context& context) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 2 && weight.size(1) == x.size(3),
              "[conv_pixels] x must be [T, H, W, Cin] with the weight's Cin, got ", x.sizes(), " and weight ",
              weight.sizes());
  if (!x.is_cpu()) return linear(x, weight, bias, Activation::None, context);
  const Tensor taps = weight.to(x.scalar_type()).view({weight.size(0), weight.size(1), 1, 1, 1});
  return convolve_on_cpu(x.contiguous(), taps, bias.to(x.scalar_type()), {0, 0, 0, 0});
}

Tensor conv2d_down(const Tensor& x, const Tensor& weight, const Tensor& bias, const Context& context) {
  check_down(x, weight);
  const Range range("conv2d_down", [&] {
    return convolution_work(x, double(x.numel() / x.size(3)) / 4, weight[0].numel(), weight.size(0));
  });
  const Tensor taps = weight.to(x.scalar_type()), offset = bias.to(x.scalar_type());
  if (x.is_cpu()) return convolve_on_cpu(x, taps.unsqueeze(2), offset, {0, 1, 0, 1, 2});
  Tensor y = convolve_down<Library>(x, taps, offset);
  if (is_checked(x)) check_convolution_once(described_down(taps, offset), x, y, context);
  return y;
}

Tensor conv2d_up(const Tensor& x, const Tensor& folded, const Tensor& bias, const Context& context) {
  check_up(x, folded);
  const Range range("conv2d_up", [&] {
    return convolution_work(x, 4 * double(x.numel() / x.size(3)), folded[0][0].numel(), folded.size(1));
  });
  const Tensor taps = folded.to(x.scalar_type()), offset = bias.to(x.scalar_type());
  if (x.is_cpu())
    return interleaved(x, taps.size(1), [&](int64_t row, int64_t column) {
      return convolve_on_cpu(x, taps[2 * row + column].unsqueeze(2), offset, {1 - row, row, 1 - column, column});
    });
  Tensor y = convolve_up<Library>(x, taps, offset);
  if (is_checked(x)) check_convolution_once(described_up(taps, offset), x, y, context);
  return y;
}

namespace reference {

Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t time_stride) {
  check_conv3d(x, weight);
  const Tensor taps = weight.to(x.scalar_type());
  return convolve<Unfolding>(x, taps, offset_of(bias, taps, x), time_stride);
}

Tensor conv2d_down(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_down(x, weight);
  return convolve_down<Unfolding>(x, weight.to(x.scalar_type()), bias.to(x.scalar_type()));
}

Tensor conv2d_up(const Tensor& x, const Tensor& folded, const Tensor& bias) {
  check_up(x, folded);
  return convolve_up<Unfolding>(x, folded.to(x.scalar_type()), bias.to(x.scalar_type()));
}

}  // namespace reference

Tensor fold_nearest2x(const Tensor& weight) {
  TORCH_CHECK(weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3,
              "[fold_nearest2x] weight must be [Cout, Cin, 3, 3], got ", weight.sizes());
  // Of the three taps an even position sees {0} and {1, 2} on the same pixel, an odd one {0, 1} and {2}.
  const auto fold = [](const Tensor& taps, int64_t axis, int64_t odd) {
    const Tensor first = taps.slice(axis, 0, 1 + odd).sum(axis), second = taps.slice(axis, 1 + odd, 3).sum(axis);
    return at::stack({first, second}, axis);
  };
  const Tensor taps = weight.to(at::kDouble);
  std::vector<Tensor> parities;
  for (int64_t parity = 0; parity < 4; ++parity) parities.push_back(fold(fold(taps, 2, parity / 2), 3, parity % 2));
  return at::stack(parities).to(weight.scalar_type());
}

}  // namespace wan::kernels
