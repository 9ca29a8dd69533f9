#include "models/rife/block.h"

#include <ATen/ATen.h>

namespace wan::rife {
namespace {

constexpr int64_t kConvolutions = 8;  // of convblock
constexpr double kSlope = 0.2;        // of activations that are not learned

Picture whole(const Tensor& x) {
  return {rows_of(x), x.size(1), x.size(2), x.device()};
}

/// Every second row and column of a picture [2H, 2W, ...], `count` of the rows from `row` on: [count, W, ...].
Tensor every_second(const Tensor& picture, int64_t row_parity, int64_t column_parity, int64_t row, int64_t count) {
  return picture.unflatten(1, {-1, 2})
      .select(2, column_parity)
      .unflatten(0, {-1, 2})
      .select(1, row_parity)
      .narrow(0, row, count);
}

}  // namespace

Block::Block(const Scope& at, const Architecture& architecture, size_t number, at::ScalarType dtype)
    : width_(architecture.widths.at(number)),
      outputs_(architecture.outputs(number)),
      shuffles_(architecture.shuffles()),
      lastconv_(at, shuffles_ ? "lastconv.0" : "lastconv", width_, architecture.stored_outputs() * (shuffles_ ? 4 : 1),
                outputs_ * (shuffles_ ? 4 : 1), dtype) {
  conv0_.emplace_back(at / "conv0" / 0, "0", architecture.inputs(number), width_ / 2, 2, dtype);
  conv0_.emplace_back(at / "conv0" / 1, "0", width_ / 2, width_, 2, dtype);
  for (int64_t i = 0; i < kConvolutions; ++i) {
    const Scope layer = at / "convblock" / i;
    convblock_.emplace_back(layer, shuffles_ ? "conv" : "0", width_, width_, 1, dtype, shuffles_ ? "beta" : "");
  }
  if (shuffles_) return;
  const auto take_slopes = [&](const Scope& layer, int64_t width) {
    slopes_.push_back(layer.take(
        "1.weight", {width}, Role::Float32,
        {.dtype = dtype, .prepare = [dtype](const std::vector<Tensor>& stored) { return stored[0].to(dtype); }}));
  };
  take_slopes(at / "conv0" / 0, width_ / 2);
  take_slopes(at / "conv0" / 1, width_);
  for (int64_t i = 0; i < kConvolutions; ++i) take_slopes(at / "convblock" / i, width_);
}

kernels::ConvolutionFinish Block::activation(size_t layer) const {
  if (slopes_.empty()) return {.slope = kSlope};
  return {.slopes = slopes_[layer].tensor()};
}

Tensor Block::features(Picture x) const {
  Tensor y = conv0_[0](x, activation(0));
  x.rows = nullptr;
  y = conv0_[1](whole(y), activation(1));
  const Tensor start = shuffles_ ? Tensor() : as_image(y);
  for (size_t i = 0; i < convblock_.size(); ++i) {
    kernels::ConvolutionFinish finish = activation(2 + i);
    // 4.0 adds its input to the whole, later ones to each convolution.
    if (shuffles_)
      finish.add = as_image(y);
    else if (i + 1 == convblock_.size())
      finish.then = start;
    y = convblock_[i](whole(y), finish);
  }
  return y;
}

Tensor Block::operator()(Picture x) const {
  const Tensor y = features(std::move(x));
  const int64_t height = y.size(1), width = y.size(2), times = shuffles_ ? 4 : 2;
  const Tensor out = at::empty({times * height, times * width, outputs_}, y.options());
  lastconv_(y, [&](int64_t row_parity, int64_t column_parity, int64_t row, const Tensor& values) {
    const int64_t rows = values.size(1);
    if (!shuffles_) {
      every_second(out, row_parity, column_parity, row, rows).copy_(values[0]);
      return;
    }
    // Channel 4c + 2i + j is pixel (i, j) of channel c: [2 * height, 2, 2 * width, 2, c].
    const Tensor pixels = out.view({2 * height, 2, 2 * width, 2, outputs_});
    const Tensor to = pixels.unflatten(2, {-1, 2}).select(3, column_parity).unflatten(0, {-1, 2}).select(1, row_parity);
    to.narrow(0, row, rows).copy_(values[0].view({rows, width, outputs_, 2, 2}).permute({0, 3, 1, 4, 2}));
  });
  return out;
}

Encoder::Encoder(const Scope& at, const Architecture& architecture, at::ScalarType dtype)
    : activates_(architecture.version != Version::V4_7),
      last_(at, activates_ ? "cnn3" : "1", architecture.head_width, architecture.features(), architecture.features(),
            dtype) {
  convolutions_.emplace_back(at, activates_ ? "cnn0" : "0", 3, architecture.head_width, 2, dtype);
  if (!activates_) return;
  for (const char* name : {"cnn1", "cnn2"})
    convolutions_.emplace_back(at, name, architecture.head_width, architecture.head_width, 1, dtype);
}

void Encoder::operator()(const Picture& x, const Tensor& features) const {
  Tensor y;
  for (size_t i = 0; i < convolutions_.size(); ++i)
    y = convolutions_[i](i == 0 ? x : whole(y), {.slope = activates_ ? kSlope : 1});
  last_(y, [&](int64_t row_parity, int64_t column_parity, int64_t row, const Tensor& values) {
    every_second(features, row_parity, column_parity, row, values.size(1)).copy_(values[0]);
  });
}

}  // namespace wan::rife
