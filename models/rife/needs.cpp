#include "models/rife/needs.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>

#include "kernels/convolution/winograd.h"
#include "models/rife/layers.h"

namespace wan::rife {
namespace {

constexpr int64_t kVector = 4;        // values of a packed pixel are a multiple of these
constexpr int64_t kConvolutions = 8;  // of a block's body

/// The padded size of frames, and what one stage is made of.
struct Sizes {
  Sizes(const Architecture& architecture, int64_t height, int64_t width, double scale) : architecture(architecture) {
    const int64_t unit = int64_t(std::lround(128 / scale));
    this->height = (height + unit - 1) / unit * unit, this->width = (width + unit - 1) / unit * unit;
    for (size_t i = 0; i < architecture.widths.size(); ++i)
      scales.push_back(int64_t(std::lround(double(architecture.scale(i)) / scale)));
  }
  int64_t pixels(int64_t smaller = 1) const { return height / smaller * (width / smaller); }
  int64_t frame() const { return pixels() * ((3 + architecture.features() + kVector - 1) / kVector * kVector); }
  /// By how much a block's result is smaller than the frames.
  int64_t factor(size_t i) const { return scales[i] * (architecture.shuffles() ? 1 : 2); }
  int64_t result(size_t i) const { return pixels(factor(i)) * architecture.outputs(i); }

  const Architecture& architecture;
  int64_t height, width;
  std::vector<int64_t> scales;
};

/// Values of the rows that a thread makes of a stage's input, with the sums they come from, and of the convolution of
/// them.
int64_t stripe(const Sizes& sizes, size_t i) {
  const int64_t width = sizes.width / sizes.scales[i], rows = rows_of_a_stripe(width / 2);
  return (2 * rows + 1) * width * sizes.architecture.inputs(i) + rows * width / 2 * sizes.architecture.widths[i] / 2;
}

/// Values that a convolution of 3x3 pixels takes for itself, of frames made smaller.
int64_t scratch(const Sizes& sizes, int64_t channels, int64_t smaller, at::ScalarType dtype, int threads) {
  if (threads == 0 || !kernels::takes_winograd(channels, channels, at::kCPU, dtype)) return 0;
  return kernels::winograd_scratch(channels, channels, sizes.height / smaller, sizes.width / smaller, threads);
}

/// Values that a block holds at most, from its first convolution's result on.
int64_t block(const Sizes& sizes, size_t i, at::ScalarType dtype, int threads) {
  const int64_t scale = sizes.scales[i], width = sizes.architecture.widths[i];
  const int64_t half = sizes.pixels(2 * scale) * width / 2, inner = sizes.pixels(4 * scale) * width;
  const int64_t convolving =
      inner * (sizes.architecture.shuffles() ? 2 : 3) + scratch(sizes, width, 4 * scale, dtype, threads);
  return std::max({half + inner, convolving, inner + sizes.result(i)});
}

/// Values of the input of a stage on whole pictures, and what making it takes beside.
int64_t whole_input(const Sizes& sizes, size_t i) {
  const Architecture& architecture = sizes.architecture;
  const int64_t input = sizes.pixels(sizes.scales[i]) * architecture.inputs(i);
  const int64_t features = architecture.features();
  if (i == 0) return input + sizes.pixels(sizes.scales[i]) * std::max<int64_t>(3, features);
  // The flow while it is added up; with it a grid of two channels and what is warped by that, or what is carried.
  return input +
         sizes.pixels() * std::max({int64_t(8), 4 + 2 + std::max<int64_t>(3, features), 4 + architecture.carried()});
}

}  // namespace

Memory memory_of(const Architecture& architecture, int64_t height, int64_t width, const Options& options, int threads) {
  const Sizes sizes(architecture, height, width, options.scale);
  const int64_t picture = 3 * height * width;
  int64_t most = 0, held = 0;
  for (size_t i = 0; i < sizes.scales.size(); ++i) {
    const int64_t scale = sizes.scales[i], half = sizes.pixels(2 * scale) * architecture.widths[i] / 2;
    const int64_t making = threads > 0
                               ? half + threads * stripe(sizes, i)
                               : std::max(whole_input(sizes, i), sizes.pixels(scale) * architecture.inputs(i) + half);
    most = std::max(most, held + std::max(making, block(sizes, i, options.dtype, threads)));
    held += sizes.result(i);
  }
  // On whole pictures: the flow, a grid and both frames; then those, the mask and the result.
  const int64_t merging = threads > 0 ? picture : std::max(sizes.pixels() * 12, sizes.pixels() * 7 + picture);
  most = std::max(most, held + merging);
  Memory memory;
  const int64_t size = int64_t(c10::elementSize(options.dtype));
  const int64_t layers = architecture.features() == 0 ? 0 : architecture.version == Version::V4_7 ? 1 : 2;
  const int64_t head = architecture.head_width;
  memory.frame = size * sizes.frame();
  memory.encode = memory.frame + size * layers * sizes.pixels(2) * head;
  if (layers == 2) memory.encode += size * scratch(sizes, head, 2, options.dtype, threads);
  memory.between = size * most;
  return memory;
}

Work work_of(const Architecture& architecture, int64_t height, int64_t width, double scale) {
  const Sizes sizes(architecture, height, width, scale);
  const auto convolution = [](int64_t pixels, int64_t in, int64_t out, int64_t taps) {
    return 2.0 * double(pixels) * double(in) * double(out) * double(taps);
  };
  Work work;
  for (size_t i = 0; i < sizes.scales.size(); ++i) {
    const int64_t width_of = architecture.widths[i];
    const int64_t half = sizes.pixels(2 * sizes.scales[i]), inner = sizes.pixels(4 * sizes.scales[i]);
    work.between += convolution(half, architecture.inputs(i), width_of / 2, 9) +
                    convolution(inner, width_of / 2, width_of, 9) +
                    double(kConvolutions) * convolution(inner, width_of, width_of, 9) +
                    convolution(4 * inner, width_of, architecture.outputs(i) * (architecture.shuffles() ? 4 : 1), 4);
  }
  if (architecture.features() == 0) return work;
  const int64_t head = architecture.head_width;
  work.frame = convolution(sizes.pixels(2), 3, head, 9) + convolution(sizes.pixels(), head, architecture.features(), 4);
  if (architecture.version != Version::V4_7) work.frame += 2 * convolution(sizes.pixels(2), head, head, 9);
  return work;
}

}  // namespace wan::rife
