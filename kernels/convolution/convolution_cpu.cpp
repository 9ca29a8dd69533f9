#include "kernels/convolution/convolution_cpu.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/pieces.h"

namespace wan::kernels {
namespace {

using at::Tensor;

// Rows of a frame's result that are one call of the library, counted from the frame's first row. It chooses its blocks by
// the sizes that it gets: with any other number a part of a frame would not have the bits that it has in the whole frame.
constexpr int64_t kRows = kRowsOfAConvolution;

// The library brings the weights into its own order for each call, which costs as much as 84 pixels (measured with
// AVX-512): a call is for several frames where they are narrow.
constexpr int64_t kPixelsOfACall = 2048;

int64_t frames_of_a_call(int64_t width) {
  return (kPixelsOfACall + kRows * width - 1) / (kRows * width);
}

int64_t stripes_of(int64_t height) {
  return (height + kRows - 1) / kRows;
}

/// Windows of one pixel: a matrix product for each frame of the window.
Tensor convolve_pixels(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t time_stride) {
  const int64_t times = taps.size(2), frames = (x.size(0) - times) / time_stride + 1, height = x.size(1),
                width = x.size(2), in = taps.size(1), out = taps.size(0), stripes = stripes_of(height);
  std::vector<Tensor> weights;
  for (int64_t t = 0; t < times; ++t) weights.push_back(taps.select(2, t).reshape({out, in}).contiguous().t());
  const Tensor y = at::empty({frames, height, width, out}, x.options());
  in_pieces(frames * stripes, [&](int64_t piece) {
    const int64_t frame = piece / stripes, row = piece % stripes * kRows, count = std::min(kRows, height - row);
    const auto part_of = [&](const Tensor& clip, int64_t t) {
      return clip.select(0, t).narrow(0, row, count).view({count * width, clip.size(3)});
    };
    Tensor part = part_of(y, frame);
    at::addmm_out(part, bias, part_of(x, frame * time_stride), weights[0]);
    for (int64_t t = 1; t < times; ++t) part.addmm_(part_of(x, frame * time_stride + t), weights[size_t(t)]);
  });
  return y;
}

/// x [1, Cin, (kT,) h, w] and taps lie channels last. ATen would ask oneDNN too, but not for few channels.
Tensor convolve_by_library(const Tensor& x, const Tensor& taps, const Tensor& bias, at::IntArrayRef stride) {
  const std::vector<int64_t> zeros(stride.size(), 0), ones(stride.size(), 1);
  if (x.scalar_type() == at::kFloat) return at::mkldnn_convolution(x, taps, bias, zeros, stride, ones, 1);
  return at::convolution(x, taps, bias, stride, zeros, ones, false, zeros, 1);
}

/// [T, h, w, Cin] to [T - kT + 1, h', w', Cout]; taps have three dimensions of windows, or two.
Tensor convolve_frames(const Tensor& frames, const Tensor& taps, const Tensor& bias, int64_t stride) {
  if (taps.dim() == 5) {
    const Tensor y = convolve_by_library(frames.permute({3, 0, 1, 2}).unsqueeze(0), taps, bias, {1, stride, stride});
    return y[0].permute({1, 2, 3, 0});
  }
  return convolve_by_library(frames.permute({0, 3, 1, 2}), taps, bias, {stride, stride}).permute({0, 2, 3, 1});
}

}  // namespace

Tensor convolve_on_cpu(const Tensor& x, const Tensor& taps, const Tensor& bias, const Windows& windows) {
  const int64_t times = taps.size(2), stride = windows.stride;
  if (taps.size(3) == 1 && taps.size(4) == 1 && stride == 1) return convolve_pixels(x, taps, bias, windows.time_stride);
  const int64_t frames = (x.size(0) - times) / windows.time_stride + 1,
                height = (x.size(1) + windows.top + windows.bottom - taps.size(3)) / stride + 1,
                width = (x.size(2) + windows.left + windows.right - taps.size(4)) / stride + 1;
  const int64_t stripes = stripes_of(height), together = windows.time_stride == 1 ? frames_of_a_call(width) : 1;
  // One tap in time: a 3-D convolution would take five times longer than the same as 2-D.
  const Tensor weight = times > 1 ? taps.contiguous(at::MemoryFormat::ChannelsLast3d)
                                  : taps.squeeze(2).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor y = at::empty({frames, height, width, taps.size(0)}, x.options());
  in_pieces((frames + together - 1) / together * stripes, [&](int64_t piece) {
    const int64_t frame = piece / stripes * together, number = std::min(together, frames - frame),
                  row = piece % stripes * kRows, count = std::min(kRows, height - row);
    // The rows that its windows see, counted in x; those outside are zeros.
    const int64_t first = row * stride - windows.top, end = (row + count - 1) * stride - windows.top + taps.size(3);
    const int64_t above = std::max<int64_t>(-first, 0), below = std::max<int64_t>(end - x.size(1), 0);
    const Tensor seen = x.narrow(0, frame * windows.time_stride, number - 1 + times)
                            .narrow(1, first + above, end - first - above - below);
    const Tensor padded = at::constant_pad_nd(seen, {0, 0, windows.left, windows.right, above, below});
    y.narrow(0, frame, number).narrow(1, row, count).copy_(convolve_frames(padded, weight, bias, stride));
  });
  return y;
}

}  // namespace wan::kernels
