#include "kernels/convolution/convolution_check.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "kernels/convolution/conv3d.h"
#include "kernels/op/first_use.h"

namespace wan::kernels {
namespace {

/// Along the diagonal of the clip: frames, rows, columns of each.
constexpr int64_t kTiles = 5, kTile[] = {2, 8, 8};
/// Of the largest tile's size: smaller tiles count as this large.
constexpr double kFlat = 0.1;

/// What tile_error finds out about one tile, as float64 scalars on the device.
struct Tile {
  Tensor distance, size, largest;  // root mean squares of got - want and of want; the largest of want
};

Tile compare_tile(const Convolution& convolution, const Tensor& x, const Tensor& y, int64_t number) {
  Tensor part = x, got = y;
  std::array<AxisPart, 3> needed;
  for (int64_t axis = 0; axis < 3; ++axis) {
    const int64_t count = std::min(kTile[axis], y.size(axis)), first = (y.size(axis) - count) * number / (kTiles - 1);
    needed[axis] = needed_part(convolution.axes[axis], x.size(axis), first, count);
    part = part.narrow(axis, needed[axis].first, needed[axis].count);
    got = got.narrow(axis, first, count);
  }
  Tensor want = convolution.reference(part.to(at::kFloat).contiguous());
  for (int64_t axis = 0; axis < 3; ++axis) want = want.narrow(axis, needed[axis].skipped, got.size(axis));
  got = got.to(at::kDouble);
  want = want.to(at::kDouble);
  const auto rms = [](const Tensor& y) { return y.square().mean().sqrt(); };
  return {rms(got - want), rms(want), want.abs().max()};
}

double largest_number(at::ScalarType dtype) {
  return dtype == at::kHalf ? double(std::numeric_limits<at::Half>::max())
                            : double(std::numeric_limits<at::BFloat16>::max());
}

std::string sizes_of(const Tensor& taps) {
  std::ostringstream text;
  text << taps.sizes();
  return text.str();
}

}  // namespace

AxisPart needed_part(const ConvolutionAxis& axis, int64_t inputs, int64_t first, int64_t count) {
  const auto [stride, doubling, before, after] = axis;
  const int64_t begin = std::max<int64_t>(0, first * stride / doubling - before);
  const int64_t end = std::min(inputs, (first + count - 1) * stride / doubling + after + 1);
  return {begin, end - begin, first - begin * doubling / stride};
}

Convolution described_conv3d(const Tensor& taps, const Tensor& bias, int64_t time_stride) {
  const auto centred = [](int64_t kernel) { return ConvolutionAxis{.before = kernel / 2, .after = kernel / 2}; };
  const ConvolutionAxis time{.stride = time_stride, .after = taps.size(2) - 1};
  const std::string stride = time_stride == 1 ? "" : " of time stride " + std::to_string(time_stride);
  const std::string shape = sizes_of(taps) + stride + (bias.defined() ? "" : " without bias");
  return {"conv3d", shape, {time, centred(taps.size(3)), centred(taps.size(4))}, [=](const Tensor& x) {
            return reference::conv3d(x, taps, bias, time_stride);
          }};
}

Convolution described_down(const Tensor& taps, const Tensor& bias) {
  const ConvolutionAxis halved{.stride = 2, .after = 2};
  return {"conv2d_down", sizes_of(taps), {ConvolutionAxis(), halved, halved}, [=](const Tensor& x) {
            return reference::conv2d_down(x, taps, bias);
          }};
}

Convolution described_up(const Tensor& taps, const Tensor& bias) {
  const ConvolutionAxis doubled{.doubling = 2, .before = 1, .after = 1};
  return {"conv2d_up", sizes_of(taps), {ConvolutionAxis(), doubled, doubled}, [=](const Tensor& x) {
            return reference::conv2d_up(x, taps, bias);
          }};
}

std::optional<double> tile_error(const Convolution& convolution, const Tensor& x, const Tensor& y) {
  // NaN where any input is not finite, else 0.
  std::vector<Tensor> found = {x.sum(at::kFloat).mul(0).to(at::kDouble)};
  for (int64_t number = 0; number < kTiles; ++number) {
    Tile tile = compare_tile(convolution, x, y, number);
    found.insert(found.end(), {tile.distance, tile.size, tile.largest});
  }
  const Tensor read = at::stack(found).cpu();  // the one wait
  if (read[0].isnan().item<bool>()) return std::nullopt;
  const auto value = [&](int64_t number, int64_t which) { return read[1 + 3 * number + which].item<double>(); };
  // A tile that is flat where the others are not is what large terms leave of each other: its error is theirs. Below
  // its smallest normal number half keeps no relative accuracy.
  double floor = y.scalar_type() == at::kHalf ? double(std::numeric_limits<at::Half>::min()) : 1e-30;
  for (int64_t number = 0; number < kTiles; ++number) {
    if (!(value(number, 2) <= largest_number(y.scalar_type()) / 2)) return std::nullopt;
    floor = std::max(floor, kFlat * value(number, 1));
  }
  double error = 0;
  for (int64_t number = 0; number < kTiles; ++number) {
    const double own = value(number, 0) / std::max(value(number, 1), floor);
    if (!(own <= error)) error = std::isnan(own) ? std::numeric_limits<double>::infinity() : own;
  }
  return error;
}

void check_convolution_once(const Convolution& convolution, const Tensor& x, const Tensor& y, const Context& context) {
  std::ostringstream shape;
  shape << x.scalar_type() << ' ' << convolution.shape << " over " << x.size(0) << 'x' << x.size(1) << 'x' << x.size(2);
  check_first_use(
      convolution.op, shape.str(), x.device(), kConvolutionBound, [&] { return tile_error(convolution, x, y); },
      "--dtype float32 computes the VAE without 16-bit convolutions, `wan-infer decode LATENTS --device cpu` finishes "
      "kept latents, and another version of cuDNN may be right",
      context);
}

}  // namespace wan::kernels
