#include "models/rife/layers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/pieces.h"

namespace wan::rife {
namespace {

/// oneDNN brings the weights into its own order at each call, which costs as much as some 80 pixels.
constexpr int64_t kPixelsOfAStripe = 512;
constexpr int64_t kFewestRows = 4;
/// So many parts a picture has at least, if its channels allow; a group has so many channels at least.
constexpr int64_t kFewestParts = 8;
constexpr int64_t kChannelsOfAGroup = 32;

/// x [1, C, h, W] and taps channels last, no padding above and below, `columns` zeros left and right.
Tensor by_library(const Tensor& x, const Tensor& taps, const Tensor& bias, int64_t stride, int64_t columns) {
  const std::vector<int64_t> strides = {stride, stride}, padding = {0, columns}, ones = {1, 1};
  // ATen would not ask oneDNN for few channels.
  if (x.is_cpu() && x.scalar_type() == at::kFloat)
    return at::mkldnn_convolution(x, taps, bias, padding, strides, ones, 1);
  return at::convolution(x, taps, bias, strides, padding, ones, false, {0, 0}, 1);
}

/// Rows `first` to before `end` of a picture, those outside of it zeros.
Tensor padded_rows(const Picture& x, int64_t first, int64_t end) {
  const int64_t above = std::max<int64_t>(-first, 0), below = std::max<int64_t>(end - x.height, 0);
  const Tensor seen = x.rows(first + above, end - below);
  return above + below == 0 ? seen : at::constant_pad_nd(seen, {0, 0, 0, 0, above, below});
}

/// Rows and channels of a result that are computed at once.
struct Piece {
  int64_t row, rows, channel, channels;
};

/// Calls work(piece) for all of a result: on the CPU in pieces, whose sizes depend on the result's alone, and from
/// several threads.
void in_stripes(at::Device device, int64_t height, int64_t width, int64_t channels,
                const std::function<void(const Piece&)>& work) {
  if (!device.is_cpu()) return work({0, height, 0, channels});
  const int64_t rows = rows_of_a_stripe(width), stripes = (height + rows - 1) / rows;
  const int64_t wanted = (kFewestParts + stripes - 1) / stripes;
  const int64_t most = std::clamp<int64_t>(channels / kChannelsOfAGroup, 1, wanted);
  // Whole vectors of the library's.
  const int64_t size = most == 1 ? channels : ((channels + most - 1) / most + 15) / 16 * 16;
  const int64_t groups = (channels + size - 1) / size;
  kernels::in_pieces(stripes * groups, [&](int64_t number) {
    const int64_t row = number / groups * rows, channel = number % groups * size;
    work({row, std::min(rows, height - row), channel, std::min(size, channels - channel)});
  });
}

/// A part of a flat weight as taps [out, in, k, k] channels last.
Tensor taps_at(const Tensor& flat, int64_t number, int64_t out, int64_t in, int64_t size) {
  const int64_t length = out * in * size * size;
  return flat.narrow(0, number * length, length).view({out, size, size, in}).permute({0, 3, 1, 2});
}

/// x [..., C], below zero times `slopes` [C], in place.
void prelu_(Tensor& x, const Tensor& slopes) {
  const Tensor below = x.clamp_max(0).mul_(slopes);
  x.clamp_min_(0).add_(below);
}

/// Does to a piece [1, rows, W, channels] of a result what comes after its bias.
void finish_(Tensor& values, const Piece& piece, const kernels::ConvolutionFinish& finish) {
  const auto add_part = [&](const Tensor& image) {
    if (image.defined())
      values.add_(as_picture(image).narrow(1, piece.row, piece.rows).narrow(3, piece.channel, piece.channels));
  };
  add_part(finish.add);
  if (finish.slopes.defined())
    prelu_(values, finish.slopes.narrow(0, piece.channel, piece.channels));
  else if (finish.slope != 1)
    at::leaky_relu_(values, finish.slope);
  add_part(finish.then);
}

Tensor flattened(const std::vector<Tensor>& taps, const Tensor& bias) {
  std::vector<Tensor> flat;
  for (const Tensor& each : taps) flat.push_back(each.permute({0, 2, 3, 1}).flatten());
  flat.push_back(bias);
  return at::cat(flat);
}

}  // namespace

Tensor as_image(const Tensor& picture) {
  return picture.permute({0, 3, 1, 2});
}
Tensor as_picture(const Tensor& image) {
  return image.permute({0, 2, 3, 1});
}

Rows rows_of(const Tensor& picture) {
  return [picture](int64_t first, int64_t end) { return picture.narrow(1, first, end - first); };
}

int64_t rows_of_a_stripe(int64_t width) {
  return std::max(kFewestRows, (kPixelsOfAStripe + width - 1) / width);
}

Convolution::Convolution(const Scope& at, const std::string& name, int64_t in, int64_t out, int64_t stride,
                         at::ScalarType dtype, const std::string& beta)
    : in(in),
      out(out),
      stride(stride),
      by_winograd(stride == 1 && kernels::takes_winograd(in, out, at.place().device, dtype)) {
  std::vector<Part> parts = {{name + ".weight", {out, in, 3, 3}}, {name + ".bias", {out}}};
  if (!beta.empty()) parts.push_back({beta, {1, out, 1, 1}});
  const auto prepare = [dtype, fast = by_winograd](const std::vector<Tensor>& stored) {
    Tensor taps = stored[0].to(dtype), bias = stored[1].to(dtype);
    if (stored.size() > 2) {
      const Tensor factors = stored[2].to(dtype).flatten();
      taps = taps * factors.view({-1, 1, 1, 1}), bias = bias * factors;
    }
    return fast ? at::cat({kernels::winograd_weight(taps).flatten(), bias}) : flattened({taps}, bias);
  };
  weight = at.take(std::move(parts), Role::Float32, {.dtype = dtype, .prepare = prepare});
}

Tensor Convolution::operator()(const Picture& x, const kernels::ConvolutionFinish& finish) const {
  const Tensor flat = weight.tensor();
  kernels::ConvolutionFinish with_bias = finish;
  with_bias.bias = flat.narrow(0, flat.size(0) - out, out);
  if (!by_winograd) return in_parts(x, taps_at(flat, 0, out, in, 3), with_bias);
  const Tensor products = flat.narrow(0, 0, flat.size(0) - out).view({-1, in, out});
  return as_picture(kernels::winograd(as_image(x.rows(0, x.height)), products, with_bias));
}

Tensor Convolution::in_parts(const Picture& x, const Tensor& taps, const kernels::ConvolutionFinish& finish) const {
  const int64_t height = x.height / stride, width = x.width / stride;
  Tensor y;
  if (x.device.is_cpu()) y = at::empty({1, height, width, out}, taps.options());
  in_stripes(x.device, height, width, out, [&](const Piece& piece) {
    const Tensor seen = padded_rows(x, piece.row * stride - 1, (piece.row + piece.rows - 1) * stride + 2);
    const Tensor image = by_library(as_image(seen), taps.narrow(0, piece.channel, piece.channels),
                                    finish.bias.narrow(0, piece.channel, piece.channels), stride, 1);
    Tensor values = as_picture(image).contiguous();
    finish_(values, piece, finish);
    if (y.defined())
      y.narrow(1, piece.row, piece.rows).narrow(3, piece.channel, piece.channels).copy_(values);
    else
      y = values;
  });
  return y;
}

Deconvolution::Deconvolution(const Scope& at, const std::string& name, int64_t in, int64_t out, int64_t used,
                             at::ScalarType dtype)
    : in(in), used(used) {
  const auto by_parity = [dtype, used](const std::vector<Tensor>& stored) {
    const Tensor whole = stored[0].to(dtype).narrow(1, 0, used).transpose(0, 1);
    // Output 2i sees input i - 1 by tap 3 and i by tap 1; output 2i + 1 sees i by tap 2 and i + 1 by tap 0.
    const auto seen_by = [](const Tensor& taps, int64_t axis, int64_t parity) {
      return at::stack({taps.select(axis, parity == 0 ? 3 : 2), taps.select(axis, parity == 0 ? 1 : 0)}, axis);
    };
    std::vector<Tensor> taps;
    for (int64_t parity = 0; parity < 4; ++parity)
      taps.push_back(seen_by(seen_by(whole, 2, parity / 2), 3, parity % 2));
    return flattened(taps, stored[1].to(dtype).narrow(0, 0, used));
  };
  weight = at.take({{name + ".weight", {in, out, 4, 4}}, {name + ".bias", {out}}}, Role::Float32,
                   {.dtype = dtype, .prepare = by_parity});
}

void Deconvolution::operator()(const Tensor& x, const Put& put) const {
  const Tensor flat = weight.tensor(), bias = flat.narrow(0, flat.size(0) - used, used);
  const int64_t height = x.size(1), width = x.size(2);
  const Picture picture{rows_of(x), height, width, x.device()};
  in_stripes(x.device(), height, width, /*channels=*/1, [&](const Piece& piece) {
    const Tensor seen = padded_rows(picture, piece.row - 1, piece.row + piece.rows + 1);
    for (int64_t parity = 0; parity < 4; ++parity) {
      const Tensor rows = as_image(seen.narrow(1, parity / 2, piece.rows + 1));
      const Tensor whole = as_picture(by_library(rows, taps_at(flat, parity, used, in, 2), bias, 1, 1));
      put(parity / 2, parity % 2, piece.row, whole.narrow(2, parity % 2, width));
    }
  });
}

}  // namespace wan::rife
