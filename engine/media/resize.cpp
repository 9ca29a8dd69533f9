#include "engine/media/resize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace wan {
namespace {

void check_rgb(const char* name, const at::Tensor& rgb, int64_t dims, int64_t height, int64_t width) {
  if (rgb.dim() == dims && rgb.size(-1) == 3 && rgb.scalar_type() == at::kByte && rgb.numel() > 0 && height > 0 &&
      width > 0) {
    return;
  }
  throw std::invalid_argument("[" + std::string(name) + "] must be uint8 " +
                              (dims == 4 ? "[t, H, W, 3]" : "[H, W, 3]") + " and a size above 0, got " +
                              rgb.toString() + c10::str(rgb.sizes()) + " to " + std::to_string(height) + "x" +
                              std::to_string(width));
}

double sinc(double x) {
  return x == 0 ? 1 : std::sin(x * M_PI) / (x * M_PI);
}

// Keys' cubic with a = -0.5, as Pillow writes it: the order of its sums decides the last bit.
double cubic(double x) {
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

double weight_at(Filter filter, double x) {
  if (filter == Filter::Triangle) return std::abs(x) < 1 ? 1 - std::abs(x) : 0;
  if (filter == Filter::Bicubic) return cubic(std::abs(x));
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

// How far a filter reaches to each side, in pixels of the larger picture.
double reach(Filter filter) {
  return filter == Filter::Triangle ? 1 : filter == Filter::Bicubic ? 2 : 3;
}

constexpr int kBits = 22;  // of a weight's fraction: Pillow's 32 - 8 bits of pixel - 2 of headroom

// One axis: every output pixel is a weighted sum of `counts[i]` input pixels from `starts[i]` on.
struct Taps {
  std::vector<int64_t> starts, counts;
  std::vector<int32_t> weights;  // `stride` for each output pixel
  int64_t stride = 0;
};

// What is made of one axis: its part from `from` to `to` becomes `size` pixels, of which `count` from `first` on are
// kept.
struct Axis {
  float from, to;  // Pillow's boxes are float32
  int64_t size, first, count;
};

// Source: precompute_coeffs and normalize_coeffs_8bpc, Pillow's Resample.c.
Taps taps_of(int64_t in, const Axis& axis, Filter filter) {
  const double scale = double(axis.to - axis.from) / double(axis.size), stretch = std::max(scale, 1.0);
  const double support = reach(filter) * stretch;
  Taps taps;
  taps.stride = int64_t(std::ceil(support)) * 2 + 1;
  taps.weights.resize(size_t(axis.count * taps.stride));
  std::vector<double> exact(size_t(taps.stride), 0.0);
  for (int64_t i = 0; i < axis.count; ++i) {
    const double centre = axis.from + (double(axis.first + i) + 0.5) * scale, inverse = 1.0 / stretch;
    const int64_t start = std::max<int64_t>(0, int64_t(centre - support + 0.5));
    const int64_t count = std::min(in, int64_t(centre + support + 0.5)) - start;
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      exact[size_t(k)] = weight_at(filter, (double(k + start) - centre + 0.5) * inverse);
      sum += exact[size_t(k)];
    }
    for (int64_t k = 0; k < count; ++k) {
      double weight = (sum != 0 ? exact[size_t(k)] / sum : exact[size_t(k)]) * (1 << kBits);
      taps.weights[size_t(i * taps.stride + k)] = int32_t(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    taps.starts.push_back(start);
    taps.counts.push_back(count);
  }
  return taps;
}

// Sums along the middle axis of [outer, in, inner].
at::Tensor resample(const at::Tensor& image, int64_t outer, int64_t in, int64_t inner, const Taps& taps) {
  const auto out = int64_t(taps.starts.size());
  at::Tensor result = at::empty({outer, out, inner}, at::kByte);
  const auto* source = image.data_ptr<uint8_t>();
  auto* target = result.data_ptr<uint8_t>();
  at::parallel_for(0, outer * out, 64, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(size_t(inner), 0);
    for (int64_t row = begin; row < end; ++row) {
      const auto i = size_t(row % out);
      const uint8_t* pixels = source + (row / out * in + taps.starts[i]) * inner;
      const int32_t* weights = &taps.weights[i * size_t(taps.stride)];
      std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
      for (int64_t k = 0; k < taps.counts[i]; ++k, pixels += inner) {
        for (int64_t c = 0; c < inner; ++c) sums[size_t(c)] += pixels[c] * weights[k];
      }
      for (int64_t c = 0; c < inner; ++c)
        target[row * inner + c] = uint8_t(std::clamp(sums[size_t(c)] >> kBits, 0, 255));
    }
  });
  return result;
}

at::Tensor resize_axes(const at::Tensor& rgb, const Axis& rows, const Axis& columns, Filter filter) {
  at::Tensor image = rgb.contiguous();
  const int64_t height = image.size(0), width = image.size(1);
  // An axis that keeps its size is skipped, so that nothing is rounded.
  auto kept = [](const Axis& axis, int64_t in) {
    return axis.count == in && axis.size == in && axis.from == 0 && axis.to == float(in);
  };
  if (!kept(columns, width)) image = resample(image, height, width, 3, taps_of(width, columns, filter));
  if (!kept(rows, height)) image = resample(image, 1, height, columns.count * 3, taps_of(height, rows, filter));
  return image.view({rows.count, columns.count, 3});
}

struct Size {
  int64_t height, width;
};

constexpr int64_t kLongest = 16384;  // pixels of a side between resizing and cropping, where the whole is computed

// torchvision's Resize(shorter): the longer side is truncated.
Size shorter_side_size(int64_t in_height, int64_t in_width, int64_t shorter) {
  if (in_width <= in_height) return {int64_t(double(shorter * in_height) / double(in_width)), shorter};
  return {shorter, int64_t(double(shorter * in_width) / double(in_height))};
}

// torchvision's CenterCrop: where a larger axis is cut, at Python's round((size - target) / 2).
int64_t cut(int64_t size, int64_t target) {
  return int64_t(std::nearbyint(double(size - target) / 2));
}

// The whole of an axis resized to `size`, of which only what the centre crop keeps is computed: an image of 20,000 to 1
// would be gigabytes between.
Axis cropped(int64_t in, int64_t size, int64_t target) {
  if (size <= target) return {0, float(in), size, 0, size};
  return {0, float(in), size, cut(size, target), target};
}

// The other half of CenterCrop: a smaller axis gets floor(missing / 2) of `fill` before it and the rest behind.
at::Tensor pad(const at::Tensor& image, int64_t axis, int64_t target, double fill) {
  const int64_t size = image.size(axis);
  if (size >= target) return image;
  std::vector<int64_t> shape = image.sizes().vec();
  shape[size_t(axis)] = target;
  at::Tensor padded = at::full(shape, fill, image.options());
  padded.narrow(axis, (target - size) / 2, size).copy_(image);
  return padded;
}

at::Tensor crop(const at::Tensor& image, int64_t axis, int64_t target) {
  const int64_t size = image.size(axis);
  return size <= target ? image : image.narrow(axis, cut(size, target), target);
}

}  // namespace

at::Tensor resize_bicubic(const at::Tensor& rgb, int64_t height, int64_t width) {
  check_rgb("resize_bicubic", rgb, 3, height, width);
  at::Tensor image = rgb.permute({2, 0, 1}).to(at::kFloat).contiguous().div_(255).sub_(0.5).div_(0.5);
  return at::upsample_bicubic2d(image.unsqueeze(0), {height, width}, /*align_corners=*/false).squeeze(0);
}

at::Tensor resize_pillow(const at::Tensor& rgb, int64_t height, int64_t width, Filter filter) {
  check_rgb("resize_pillow", rgb, 3, height, width);
  return resize_axes(rgb, {0, float(rgb.size(0)), height, 0, height}, {0, float(rgb.size(1)), width, 0, width}, filter);
}

at::Tensor resize_cover(const at::Tensor& rgb, int64_t height, int64_t width) {
  check_rgb("resize_cover", rgb, 3, height, width);
  const auto in_height = double(rgb.size(0)), in_width = double(rgb.size(1));
  const double wanted = double(width) / double(height), have = in_width / in_height;
  double part_width = in_width, part_height = in_height;
  if (have > wanted) part_width = wanted * in_height;
  if (have < wanted) part_height = in_width / wanted;
  const double left = (in_width - part_width) * 0.5, top = (in_height - part_height) * 0.5;
  const Axis rows{float(top), float(top + part_height), height, 0, height};
  const Axis columns{float(left), float(left + part_width), width, 0, width};
  return resize_axes(rgb, rows, columns, Filter::Lanczos);
}

at::Tensor resize_centre(const at::Tensor& rgb, int64_t shorter, int64_t height, int64_t width, Filter filter) {
  check_rgb("resize_centre", rgb, 3, height, width);
  if (height > shorter || width > shorter)
    throw std::invalid_argument("[resize_centre] the centre must not be larger than " + std::to_string(shorter) +
                                " pixels, is " + std::to_string(width) + "x" + std::to_string(height));
  const Size size = shorter_side_size(rgb.size(0), rgb.size(1), shorter);
  const auto centre = [](int64_t in, int64_t whole, int64_t kept) {
    return Axis{0, float(in), whole, (whole - kept) / 2, kept};
  };
  return resize_axes(rgb, centre(rgb.size(0), size.height, height), centre(rgb.size(1), size.width, width), filter);
}

at::Tensor resize_shorter_side(const at::Tensor& rgb, int64_t height, int64_t width) {
  check_rgb("resize_shorter_side", rgb, 3, height, width);
  const Size size = shorter_side_size(rgb.size(0), rgb.size(1), std::min(height, width));
  at::Tensor image = resize_axes(rgb, cropped(rgb.size(0), size.height, height),
                                 cropped(rgb.size(1), size.width, width), Filter::Triangle);
  return pad(pad(image, 0, height, 0), 1, width, 0);
}

at::Tensor resize_shorter_side_float(const at::Tensor& frames, int64_t height, int64_t width) {
  check_rgb("resize_shorter_side_float", frames, 4, height, width);
  const Size size = shorter_side_size(frames.size(1), frames.size(2), std::min(height, width));
  if (size.height > kLongest || size.width > kLongest) {
    throw std::invalid_argument("[resize_shorter_side_float] frames of " + std::to_string(frames.size(2)) + "x" +
                                std::to_string(frames.size(1)) + " are too long and thin");
  }
  at::Tensor images = frames.permute({0, 3, 1, 2}).to(at::kFloat).contiguous().div_(255).mul_(2).sub_(1);
  images = at::_upsample_bilinear2d_aa(images, {size.height, size.width}, /*align_corners=*/false);
  images = pad(pad(crop(crop(images, 2, height), 3, width), 2, height, 0), 3, width, 0);
  return images.permute({1, 0, 2, 3}).contiguous();
}

}  // namespace wan
