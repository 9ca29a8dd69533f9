#include "models/film/layers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/pieces.h"
#include "models/film/warp.h"
#include "models/film/winograd.h"

namespace wan::film {
namespace {

constexpr double kSlope = 0.2;
/// Two convolutions of 3x3 pixels see so many rows above and below.
constexpr int64_t kHalo = 2;
constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

/// A weight in the dtype and the strides that convolutions read, made once: the file may have it in half.
Weight take(const Scope& at, std::string_view leaf, at::IntArrayRef shape, at::ScalarType dtype,
            const std::function<Tensor(const Tensor&)>& arrange) {
  const auto prepare = [dtype, arrange](const std::vector<Tensor>& parts) { return arrange(parts[0].to(dtype)); };
  return at.take(leaf, shape, Role::Float32, {.dtype = dtype, .prepare = prepare});
}

Tensor as_it_is(const Tensor& x) {
  return x;
}
Tensor channels_last(const Tensor& x) {
  return x.contiguous(kChannelsLast);
}
bool lies_channels_last(const Tensor& x) {
  return x.stride(1) == 1;
}
/// [out, in, 2, 2] -> [4 * out, in].
Tensor taps_as_rows(const Tensor& weight) {
  return weight.permute({2, 3, 0, 1}).reshape({-1, weight.size(1)}).contiguous();
}
/// [out] -> [4 * out]: each pixel has one product with the first tap.
Tensor on_first_tap(const Tensor& bias) {
  return at::constant_pad_nd(bias, {0, 3 * bias.size(0)});
}

/// What the loop of winograd() gains with fewer channels goes into its products' calls.
constexpr int64_t kLeastChannels = 16;

}  // namespace

bool goes_by_winograd(int64_t in, int64_t out, at::Device device, at::ScalarType dtype) {
  return device.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble) && in >= kLeastChannels &&
         out >= kLeastChannels;
}

Kernel::Kernel(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype, int64_t parts)
    : out(out),
      size(kernel),
      by_winograd(kernel == 3 && goes_by_winograd(in / parts, out, at.place().device, dtype)),
      weight(take(at, "weight", {out, in, kernel, kernel}, dtype, [parts, fast = by_winograd](const Tensor& whole) {
        std::vector<Tensor> arranged = whole.chunk(parts, 1);
        if (fast)
          for (Tensor& part : arranged) part = winograd_weight(part);
        const Tensor all = arranged.size() == 1 ? arranged[0] : at::cat(arranged, 0);
        return fast ? all : channels_last(all);
      })) {}

Tensor Kernel::operator()(const Tensor& x, const Tensor& bias, const How& how, int64_t part) const {
  const Tensor all = weight.tensor();
  if (by_winograd)
    return winograd(lies_channels_last(x) ? x : channels_last(x), all.narrow(0, part * 16, 16),
                    {.bias = bias, .add = how.add ? *how.add : Tensor(), .slope = how.activated ? kSlope : 1},
                    how.band);
  Tensor y = at::conv2d(x, all.narrow(0, part * out, out), bias, 1, {how.band ? 0 : size / 2, size / 2});
  if (how.add) y.add_(*how.add);
  return how.activated ? at::leaky_relu_(y, kSlope) : y;
}

Convolution::Convolution(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype)
    : kernel(at, in, out, kernel, dtype), bias(take(at, "bias", {out}, dtype, as_it_is)) {}

SubLevel::SubLevel(const Scope& at, int64_t in, int64_t out, at::ScalarType dtype)
    : first(at / 0 / 0, in, out, 3, dtype), second(at / 1 / 0, out, out, 3, dtype) {}

FlowPredictor::FlowPredictor(const Scope& at, int64_t features, const Config::Predictor& sizes, at::ScalarType dtype)
    : first(at / "_convs" / 0 / 0, 2 * features, sizes.width, 3, dtype, /*parts=*/2),
      first_bias(take(at / "_convs" / 0 / 0, "bias", {sizes.width}, dtype, as_it_is)) {
  const auto add = [&](int64_t in, int64_t out, int64_t kernel) {
    rest.emplace_back(at / "_convs" / int64_t(rest.size() + 1) / 0, in, out, kernel, dtype);
  };
  for (int64_t i = 1; i < sizes.convolutions; ++i) add(sizes.width, sizes.width, 3);
  add(sizes.width, sizes.width / 2, 1);
  add(sizes.width / 2, 2, 1);
}

Tensor FlowPredictor::own(const Tensor& features) const {
  return first(features, first_bias.tensor(), {.activated = false}, 0);
}

Tensor FlowPredictor::operator()(const Tensor& own, Tensor other) const {
  Tensor x = first(other, {}, {.add = &own}, 1);
  other.reset();
  for (size_t i = 0; i + 1 < rest.size(); ++i) x = rest[i](x);
  return rest.back()(x, {.activated = false});
}

FusionLevel::FusionLevel(const Scope& at, int64_t coarser, int64_t aligned, int64_t width, at::ScalarType dtype,
                         int64_t band_bytes)
    : aligned(aligned),
      width(width),
      band_bytes(band_bytes),
      taps(take(at / 0 / 0, "weight", {width, coarser, 2, 2}, dtype, taps_as_rows)),
      taps_bias(take(at / 0 / 0, "bias", {width}, dtype, on_first_tap)),
      first(at / 1 / 0, aligned + width, width, 3, dtype),
      second(at / 2 / 0, width, width, 3, dtype) {}

FusionLevel::Bands FusionLevel::bands(int64_t channels, int64_t height, int64_t width, int64_t element_size,
                                      int64_t band_bytes) {
  constexpr int64_t kLeast = 8;  // each band computes four rows more
  const int64_t most = std::max(kLeast, band_bytes / (channels * width * element_size));
  const int64_t count = (height + most - 1) / most;
  return {(height + count - 1) / count, count};
}

Tensor FusionLevel::operator()(Tensor coarser, const Aligned& align, const Convolution* last) const {
  const int64_t height = 2 * coarser.size(2), columns = 2 * coarser.size(3);
  const Tensor products = taps_of(coarser);
  coarser.reset();
  const Bands plan = bands(aligned + width, height, columns, int64_t(products.element_size()), band_bytes);
  if (plan.count == 1) {
    const Tensor whole = band(products, align, 0, height);
    return last ? (*last)(whole, {.activated = false}) : whole;
  }
  const int64_t channels = last ? last->kernel.out : width;
  Tensor result = at::empty({1, channels, height, columns}, products.options().memory_format(kChannelsLast));
  for (int64_t row = 0; row < height; row += plan.rows) {
    const int64_t rows = std::min(plan.rows, height - row);
    const Tensor part = band(products, align, row, rows);
    result.narrow(2, row, rows).copy_(last ? (*last)(part, {.activated = false}) : part);
  }
  return result;
}

Tensor FusionLevel::taps_of(const Tensor& coarser) const {
  const Tensor rows = coarser.permute({0, 2, 3, 1}).reshape({-1, coarser.size(1)});
  const Tensor products = coarser.is_cpu()  // the same bytes with any number of threads
                              ? kernels::sum_of_products({{rows, taps.tensor()}}, taps_bias.tensor())
                              : at::addmm(taps_bias.tensor(), rows, taps.tensor().t());
  return products.view({coarser.size(2), coarser.size(3), 4, width});
}

/// Rows outside the picture are zeros, to both convolutions.
Tensor FusionLevel::band(const Tensor& products, const Aligned& align, int64_t first_row, int64_t rows) const {
  const int64_t height = 2 * products.size(0), columns = 2 * products.size(1);
  Tensor input =
      at::empty({1, aligned + width, rows + 2 * kHalo, columns}, products.options().memory_format(kChannelsLast));
  const int64_t above = std::max<int64_t>(0, kHalo - first_row);
  const int64_t below = std::max<int64_t>(0, first_row + rows + kHalo - height);
  input.narrow(2, 0, above).zero_();
  input.narrow(2, input.size(2) - below, below).zero_();
  {
    const Tensor inside = input.narrow(2, above, input.size(2) - above - below);
    align(inside.narrow(1, 0, aligned), first_row - kHalo + above);
    double_into(inside.narrow(1, aligned, width), products, first_row - kHalo + above);
  }

  Tensor x = first(input, {.band = true});
  input.reset();  // no view of it is left, so that it goes before the second convolution
  if (first_row == 0) x.narrow(2, 0, 1).zero_();
  if (first_row + rows == height) x.narrow(2, x.size(2) - 1, 1).zero_();
  return second(x, {.band = true});
}

}  // namespace wan::film
