#include "kernels/convolution/convolution_cpu.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/pieces.h"

namespace wan::kernels {
namespace {

using at::Tensor;

// A stripe has this many pixels where there are enough for so many stripes: the library brings the weights into its own
// order for each, which costs as much as 84 pixels (measured with AVX-512).
constexpr int64_t kMostPixels = 8192, kFewestPixels = 1024, kStripes = 16;

int64_t rows_of_stripe(int64_t frames, int64_t height, int64_t width) {
  const int64_t pixels = std::clamp(frames * height * width / kStripes, kFewestPixels, kMostPixels);
  const int64_t stripes = std::clamp<int64_t>(height * width / pixels, 1, height);
  return (height + stripes - 1) / stripes;
}

/// Windows of one pixel: a matrix product for each frame of the window.
Tensor convolve_pixels(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t time_stride) {
  const int64_t frames = (x.size(0) - taps.size(2)) / time_stride + 1, channels = taps.size(1);
  std::vector<Product> products;
  for (int64_t t = 0; t < taps.size(2); ++t) {
    const Tensor seen = x.narrow(0, t, (frames - 1) * time_stride + 1).slice(0, 0, x.size(0), time_stride);
    products.push_back({seen.reshape({-1, channels}), taps.select(2, t).reshape({-1, channels}).contiguous()});
  }
  return sum_of_products(products, bias).view({frames, x.size(1), x.size(2), taps.size(0)});
}

/// x [1, Cin, (kT,) h, w] and taps lie channels last. ATen would ask oneDNN too, but not for few channels.
Tensor convolve_by_library(const Tensor& x, const Tensor& taps, const Tensor& bias, at::IntArrayRef stride) {
  const std::vector<int64_t> zeros(stride.size(), 0), ones(stride.size(), 1);
  if (x.scalar_type() == at::kFloat) return at::mkldnn_convolution(x, taps, bias, zeros, stride, ones, 1);
  return at::convolution(x, taps, bias, stride, zeros, ones, false, zeros, 1);
}

/// The frames of one window, [kT, h, w, Cin], to [h', w', Cout].
Tensor convolve_frames(const Tensor& frames, const Tensor& taps, const Tensor& bias, int64_t stride) {
  if (frames.size(0) > 1) {
    const Tensor y = convolve_by_library(frames.permute({3, 0, 1, 2}).unsqueeze(0), taps, bias, {1, stride, stride});
    return y[0].permute({1, 2, 3, 0})[0];
  }
  return convolve_by_library(frames.permute({0, 3, 1, 2}), taps, bias, {stride, stride})[0].permute({1, 2, 0});
}

}  // namespace

Tensor convolve_on_cpu(const Tensor& x, const Tensor& taps, const Tensor& bias, const Windows& windows) {
  const int64_t times = taps.size(2), stride = windows.stride;
  if (taps.size(3) == 1 && taps.size(4) == 1 && stride == 1) return convolve_pixels(x, taps, bias, windows.time_stride);
  const int64_t frames = (x.size(0) - times) / windows.time_stride + 1,
                height = (x.size(1) + windows.top + windows.bottom - taps.size(3)) / stride + 1,
                width = (x.size(2) + windows.left + windows.right - taps.size(4)) / stride + 1;
  const int64_t rows = rows_of_stripe(frames, height, width), stripes = (height + rows - 1) / rows;
  // One tap in time: a 3-D convolution would take five times longer than the same as 2-D.
  const Tensor weight = times > 1 ? taps.contiguous(at::MemoryFormat::ChannelsLast3d)
                                  : taps.squeeze(2).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor y = at::empty({frames, height, width, taps.size(0)}, x.options());
  in_pieces(frames * stripes, [&](int64_t piece) {
    const int64_t frame = piece / stripes, row = piece % stripes * rows, count = std::min(rows, height - row);
    // The rows that its windows see, counted in x; those outside are zeros.
    const int64_t first = row * stride - windows.top, end = (row + count - 1) * stride - windows.top + taps.size(3);
    const int64_t above = std::max<int64_t>(-first, 0), below = std::max<int64_t>(end - x.size(1), 0);
    const Tensor seen =
        x.narrow(0, frame * windows.time_stride, times).narrow(1, first + above, end - first - above - below);
    const Tensor padded = at::constant_pad_nd(seen, {0, 0, windows.left, windows.right, above, below});
    y.select(0, frame).narrow(0, row, count).copy_(convolve_frames(padded, weight, bias, stride));
  });
  return y;
}

}  // namespace wan::kernels
