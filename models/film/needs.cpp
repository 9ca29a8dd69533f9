#include "models/film/needs.h"

#include <algorithm>

#include "models/film/layers.h"
#include "models/film/winograd.h"

namespace wan::film {
namespace {

/// Channels times pixels, by level.
struct Sizes {
  Sizes(const Config& config, int64_t height, int64_t width, const Options& options, at::Device device)
      : config(config), options(options), device(device) {
    const int64_t alignment = config.alignment();
    this->height = (height + alignment - 1) / alignment * alignment;
    this->width = (width + alignment - 1) / alignment * alignment;
  }
  int64_t pixels(int64_t level) const { return (height >> level) * (width >> level); }
  int64_t features(int64_t level) const { return config.features(level) * pixels(level); }
  int64_t own(int64_t level) const { return config.predictor(level).width * pixels(level); }
  int64_t pictures(int64_t levels) const {
    int64_t sum = 0;
    for (int64_t level = 0; level < levels; ++level) sum += 3 * pixels(level);
    return sum;
  }
  int64_t frame() const {
    int64_t sum = pictures(config.fusion_levels());
    for (int64_t level = 0; level < config.pyramid_levels; ++level) sum += features(level) + own(level);
    return sum;
  }

  /// What a convolution of 3x3 pixels takes for itself.
  int64_t scratch(int64_t in, int64_t out, int64_t rows, int64_t columns) const {
    return goes_by_winograd(in, out, device, options.dtype) ? winograd_scratch(in, out, rows, columns) : 0;
  }
  int64_t scratch(int64_t in, int64_t out, int64_t level) const {
    return scratch(in, out, height >> level, width >> level);
  }

  const Config& config;
  const Options& options;
  at::Device device;
  int64_t height, width;  // padded
};

/// The most while one frame is computed; follows Model::extract.
int64_t extracting(const Sizes& sizes) {
  const Config& c = sizes.config;
  const int64_t pictures = sizes.pictures(c.pyramid_levels);
  int64_t held = pictures, most = 0, reached = 0;
  for (int64_t start = 0; start < c.pyramid_levels; ++start)
    for (int64_t sub = 0, pooled = 0; sub < c.sub_levels && start + sub < c.pyramid_levels; ++sub) {
      const int64_t level = start + sub, filters = c.filters << sub, one = filters * sizes.pixels(level);
      const int64_t first = one + sizes.scratch(sub == 0 ? 3 : filters / 2, filters, level);
      const int64_t second = 2 * one + sizes.scratch(filters, filters, level);  // reads one and writes one
      most = std::max(most, held + pooled + std::max(first, second));
      if (level == reached) held += sizes.features(level), ++reached;
      const bool is_all = sizes.features(level) == one;
      most = std::max(most, held + pooled + (is_all ? 0 : one));
      pooled = sub + 1 < c.sub_levels ? filters * sizes.pixels(level + 1) : 0;
    }
  // Then the first convolutions of the predictors; features are held, and those that are done.
  for (int64_t level = 0, done = 0; level < c.pyramid_levels; ++level) {
    done += sizes.own(level);
    most = std::max(most, held + done + sizes.scratch(c.features(level), c.predictor(level).width, level));
  }
  return most;
}

/// The most while one flow is computed, beside the frames and the other flow; follows FlowPredictor.
int64_t estimating(const Sizes& sizes) {
  const Config& c = sizes.config;
  int64_t most = 0;
  for (int64_t level = 0; level < c.pyramid_levels; ++level) {
    const int64_t one = sizes.own(level), pixels = sizes.pixels(level);
    const auto [convolutions, wide] = c.predictor(level);
    // The warped features and what is made of them.
    const int64_t first = sizes.features(level) + one + sizes.scratch(c.features(level), wide, level);
    const int64_t later = one + (convolutions > 1 ? one + sizes.scratch(wide, wide, level) : one / 2);
    most = std::max(most, 2 * pixels + std::max(first, later));
  }
  return most;
}

int64_t flows(const Sizes& sizes) {
  int64_t sum = 0;
  for (int64_t level = 0; level < sizes.config.fusion_levels(); ++level) sum += 2 * sizes.pixels(level);
  return sum;
}

/// The most while pictures are put together, beside the frames and both flows; follows FusionLevel.
int64_t fusing(const Sizes& sizes, int64_t element_size) {
  const Config& c = sizes.config;
  const int64_t coarsest = c.fusion_levels() - 1;
  int64_t coarser = c.aligned(coarsest) * sizes.pixels(coarsest), most = coarser;
  for (int64_t level = coarsest - 1; level >= 0; --level) {
    const int64_t width = c.fusion[size_t(level)], channels = c.aligned(level) + width;
    const int64_t products = 4 * width * sizes.pixels(level + 1);
    const int64_t columns = sizes.width >> level;
    const auto [rows, count] =
        FusionLevel::bands(channels, sizes.height >> level, columns, element_size, sizes.options.band_bytes);
    const int64_t result = (level == 0 ? 3 : width) * sizes.pixels(level);
    const int64_t input = channels * (rows + 4) * columns, one = width * (rows + 2) * columns;
    const int64_t first = input + one + sizes.scratch(channels, width, rows + 2, columns);
    const int64_t second =
        2 * one + std::max(sizes.scratch(width, width, rows, columns), level == 0 ? 3 * rows * columns : 0);
    const int64_t band = std::max(first, second);
    most = std::max({most, coarser + products, products + (count > 1 ? result : 0) + band});
    coarser = result;
  }
  return most;
}

double convolving(int64_t in, int64_t out, int64_t taps, int64_t pixels) {
  return 2.0 * double(in) * double(out) * double(taps) * double(pixels);
}

}  // namespace

Needs needs(const Config& config, int64_t height, int64_t width, const Options& options, at::Device device) {
  const Sizes sizes(config, height, width, options, device);
  const auto size = int64_t(c10::elementSize(options.dtype));
  const int64_t frame = sizes.frame();
  const int64_t between = std::max({flows(sizes) + estimating(sizes), 2 * flows(sizes) + fusing(sizes, size)});
  Needs needs{.frame_bytes = frame * size,
              .peak_bytes = std::max(frame + extracting(sizes), 2 * frame + between) * size,
              .frame_flops = 0,
              .pair_flops = 0};

  for (int64_t level = 0; level < config.pyramid_levels; ++level) {
    for (int64_t sub = 0; sub <= std::min(level, config.sub_levels - 1); ++sub) {
      const int64_t out = config.filters << sub;
      const int64_t in = sub == 0 ? 3 : out / 2;
      needs.frame_flops += convolving(in + out, out, 9, sizes.pixels(level));
    }
    const auto& [convolutions, wide] = config.predictor(level);
    const double own = convolving(config.features(level), wide, 9, sizes.pixels(level));
    needs.frame_flops += own;
    needs.pair_flops += 2 * (own + convolving((convolutions - 1) * wide, wide, 9, sizes.pixels(level)) +
                             convolving(wide + 2, wide / 2, 1, sizes.pixels(level)));
  }
  for (int64_t level = 0; level < int64_t(config.fusion.size()); ++level) {
    const int64_t out = config.fusion[size_t(level)], pixels = sizes.pixels(level);
    const bool coarsest = level + 2 == config.fusion_levels();
    const int64_t coarser = coarsest ? config.aligned(level + 1) : config.fusion[size_t(level) + 1];
    needs.pair_flops += convolving(coarser, out, 4, sizes.pixels(level + 1));
    needs.pair_flops += convolving(config.aligned(level) + 2 * out, out, 9, pixels);
  }
  needs.pair_flops += convolving(config.fusion[0], 3, 1, sizes.pixels(0));
  return needs;
}

}  // namespace wan::film
