#include "models/film/layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "kernels/convolution/winograd.h"
#include "kernels/op/pieces.h"
#include "models/film/warp.h"

namespace wan::film {
namespace {

constexpr double kSlope = 0.2;
constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

/// A weight in the dtype and the strides that convolutions read, made once: the file may have it in half. All are copies:
/// one that is a view would keep the mapped file, which lies in memory where it was read.
Weight take(const Scope& at, std::string_view leaf, at::IntArrayRef shape, at::ScalarType dtype,
            const std::function<Tensor(const Tensor&)>& arrange) {
  const auto prepare = [dtype, arrange](const std::vector<Tensor>& parts) {
    const Tensor made = arrange(parts[0].to(dtype));
    return made.is_alias_of(parts[0]) ? made.clone() : made;
  };
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

/// Rows of its input that a convolution of 3x3 pixels reads again for the next band: the last that an output was computed
/// of, and the one below.
constexpr int64_t kSeenAgain = 2;

/// A picture that comes in bands of rows, from above.
class Stack {
 public:
  Stack(at::IntArrayRef sizes, const at::TensorOptions& options) : sizes_(sizes.vec()), options_(options) {}
  void add(const Tensor& rows) {
    if (rows.sizes() == at::IntArrayRef(sizes_)) {
      all_ = rows;
      return;
    }
    if (!all_.defined()) all_ = at::empty(sizes_, options_);
    all_.narrow(2, added_, rows.size(2)).copy_(rows);
    added_ += rows.size(2);
  }
  const Tensor& whole() const { return all_; }

 private:
  const std::vector<int64_t> sizes_;
  const at::TensorOptions options_;
  Tensor all_;
  int64_t added_ = 0;
};

}  // namespace

Bands::Bands(int64_t height, int64_t row_bytes, int64_t band_bytes) : height(height) {
  constexpr int64_t kLeast = 8;
  const int64_t most = std::max(kLeast, band_bytes / row_bytes / 2 * 2);
  const int64_t fewest = (height + most - 1) / most;
  rows = (height + fewest - 1) / fewest;
  rows += rows % 2;  // winograd() computes two at once
  count = (height + rows - 1) / rows;
}

Kernel::Kernel(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype, int64_t parts)
    : out(out),
      size(kernel),
      by_winograd(kernel == 3 && kernels::takes_winograd(in / parts, out, at.place().device, dtype)),
      weight(take(at, "weight", {out, in, kernel, kernel}, dtype, [parts, fast = by_winograd](const Tensor& whole) {
        std::vector<Tensor> arranged = whole.chunk(parts, 1);
        if (fast)
          for (Tensor& part : arranged) part = kernels::winograd_weight(part);
        const Tensor all = arranged.size() == 1 ? arranged[0] : at::cat(arranged, 0);
        return fast ? all : channels_last(all);
      })) {}

Tensor Kernel::operator()(const Tensor& x, const Tensor& bias, const How& how, int64_t part) const {
  const Tensor all = weight.tensor();
  const int64_t rows = x.size(2) - how.above - how.below;
  // Where one side alone is cut its row is computed, too, and left out.
  const bool band = how.above && how.below;
  Tensor add = how.add ? *how.add : Tensor();
  if (add.defined() && band) add = add.narrow(2, 1, rows);
  Tensor y;
  if (by_winograd) {
    y = kernels::winograd(lies_channels_last(x) ? x : channels_last(x), all.narrow(0, part * 16, 16),
                          {.bias = bias, .add = add, .slope = how.activated ? kSlope : 1}, band);
  } else {
    y = at::conv2d(x, all.narrow(0, part * out, out), bias, 1, {band ? 0 : size / 2, size / 2});
    if (add.defined()) y.add_(add);
    if (how.activated) at::leaky_relu_(y, kSlope);
  }
  return y.size(2) == rows ? y : y.narrow(2, how.above ? 1 : 0, rows);
}

Convolution::Convolution(const Scope& at, int64_t in, int64_t out, int64_t kernel, at::ScalarType dtype)
    : kernel(at, in, out, kernel, dtype), bias(take(at, "bias", {out}, dtype, as_it_is)) {}

SubLevel::SubLevel(const Scope& at, int64_t in, int64_t out, at::ScalarType dtype)
    : first(at / 0 / 0, in, out, 3, dtype), second(at / 1 / 0, out, out, 3, dtype) {}

Tensor Chain::operator()(Tensor x, bool last) {
  for (size_t i = 0; i < convolutions_.size(); ++i) {
    auto& [kept, has_given] = stages_[i];
    if (kept.defined()) x = x.defined() ? at::cat({std::exchange(kept, {}), x}, 2) : std::exchange(kept, {});
    if (!x.defined()) continue;
    const How how{.above = has_given, .below = !last};
    const int64_t rows = x.size(2), given = rows - how.above - how.below;
    if (given <= 0) {
      kept = std::exchange(x, {});
      continue;
    }
    if (!last) kept = x.narrow(2, rows - kSeenAgain, kSeenAgain).clone();  // one that is given now, and one that is not
    has_given = true;
    x = convolutions_[i](x, how);
  }
  return x;
}

FlowPredictor::FlowPredictor(const Scope& at, int64_t features, const Config::Predictor& sizes, at::ScalarType dtype,
                             int64_t band_bytes)
    : band_bytes(band_bytes),
      first(at / "_convs" / 0 / 0, 2 * features, sizes.width, 3, dtype, /*parts=*/2),
      first_bias(take(at / "_convs" / 0 / 0, "bias", {sizes.width}, dtype, as_it_is)) {
  const Scope all = at / "_convs";
  for (int64_t i = 1; i < sizes.convolutions; ++i)
    convolutions.emplace_back(all / i / 0, sizes.width, sizes.width, 3, dtype);
  of_pixels.emplace_back(all / sizes.convolutions / 0, sizes.width, sizes.width / 2, 1, dtype);
  of_pixels.emplace_back(all / (sizes.convolutions + 1) / 0, sizes.width / 2, 2, 1, dtype);
}

Tensor FlowPredictor::own(const Tensor& features) const {
  return first(features, first_bias.tensor(), {.activated = false}, 0);
}

Tensor FlowPredictor::operator()(const Tensor& features, const Tensor& own, const Warp& warp) const {
  const int64_t height = features.size(2), columns = features.size(3);
  const Bands bands(height, features.size(1) * columns * int64_t(features.element_size()), band_bytes);
  const auto options = features.options().memory_format(kChannelsLast);
  const Tensor other = at::empty({1, features.size(1), std::min(height, bands.rows + kSeenAgain), columns}, options);
  Stack flow({1, 2, height, columns}, options);
  Chain chain(convolutions);
  for (int64_t i = 0; i < bands.count; ++i) {
    const bool last = bands.is_last(i);
    const Rows rows = bands[i].from_above(kSeenAgain);
    const Tensor seen = other.narrow(2, 0, rows.count());
    warp(seen, rows.first);
    Tensor x;
    {
      // Where it is computed here, those of its rows are wrong that are only read.
      const Tensor added = own.defined() ? rows.of(own) : this->own(rows.of(features));
      x = first(seen, {}, {.above = i > 0, .below = !last, .add = &added}, 1);
    }
    x = chain(std::move(x), last);
    if (x.defined()) flow.add(of_pixels[1](of_pixels[0](x), {.activated = false}));
  }
  return flow.whole();
}

FusionLevel::FusionLevel(const Scope& at, int64_t coarser, int64_t aligned, int64_t width, at::ScalarType dtype,
                         int64_t band_bytes)
    : aligned(aligned),
      width(width),
      band_bytes(band_bytes),
      taps(take(at / 0 / 0, "weight", {width, coarser, 2, 2}, dtype, taps_as_rows)),
      taps_bias(take(at / 0 / 0, "bias", {width}, dtype, on_first_tap)),
      convolutions{Convolution(at / 1 / 0, aligned + width, width, 3, dtype),
                   Convolution(at / 2 / 0, width, width, 3, dtype)} {}

Tensor FusionLevel::operator()(Tensor coarser, const Aligned& align, const Convolution* last) const {
  const int64_t height = 2 * coarser.size(2), columns = 2 * coarser.size(3);
  const auto options = coarser.options().memory_format(kChannelsLast);
  const Bands bands(height, (aligned + width) * columns * int64_t(coarser.element_size()), band_bytes);
  const Tensor input = at::empty({1, aligned + width, std::min(height, bands.rows + kSeenAgain), columns}, options);
  Stack result({1, last ? last->kernel.out : width, height, columns}, options);
  Chain rest(std::span<const Convolution>(convolutions).subspan(1));
  for (int64_t i = 0; i < bands.count; ++i) {
    const Rows rows = bands[i].from_above(kSeenAgain);
    const Tensor seen = input.narrow(2, 0, rows.count());
    {
      const Rows from = coarser_rows(rows, coarser.size(2));
      const Tensor products = taps_of(from.of(coarser));
      if (bands.is_last(i)) coarser.reset();
      double_into(seen.narrow(1, aligned, width), products, rows.first - 2 * from.first);
    }
    align(seen.narrow(1, 0, aligned), rows.first);
    const Tensor x = rest(convolutions[0](seen, {.above = i > 0, .below = !bands.is_last(i)}), bands.is_last(i));
    if (x.defined()) result.add(last ? (*last)(x, {.activated = false}) : x);
  }
  return result.whole();
}

Tensor FusionLevel::taps_of(const Tensor& coarser) const {
  const Tensor rows = coarser.permute({0, 2, 3, 1}).reshape({-1, coarser.size(1)});
  const Tensor products = coarser.is_cpu()  // the same bytes with any number of threads
                              ? kernels::sum_of_products({{rows, taps.tensor()}}, taps_bias.tensor())
                              : at::addmm(taps_bias.tensor(), rows, taps.tensor().t());
  return products.view({coarser.size(2), coarser.size(3), 4, width});
}

}  // namespace wan::film
