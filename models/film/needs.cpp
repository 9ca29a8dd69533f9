#include "models/film/needs.h"

#include <algorithm>

#include "kernels/convolution/winograd.h"
#include "models/film/layers.h"

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
    for (int64_t level = 0; level < config.pyramid_levels; ++level)
      sum += features(level) + (level >= kFirstOwn ? own(level) : 0);
    return sum;
  }
  int64_t rows(int64_t level) const { return height >> level; }
  int64_t columns(int64_t level) const { return width >> level; }
  /// Of a level whose bands have an input of so many channels.
  Bands bands(int64_t channels, int64_t level) const {
    return {rows(level), channels * columns(level) * int64_t(c10::elementSize(options.dtype)), options.band_bytes};
  }

  /// What a convolution of 3x3 pixels takes for itself.
  int64_t scratch(int64_t in, int64_t out, int64_t rows, int64_t columns) const {
    if (!kernels::takes_winograd(in, out, device, options.dtype)) return 0;
    return kernels::winograd_scratch(in, out, rows, columns);
  }
  int64_t scratch(int64_t in, int64_t out, int64_t level) const {
    return scratch(in, out, rows(level), columns(level));
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
  for (int64_t level = kFirstOwn, done = 0; level < c.pyramid_levels; ++level) {
    done += sizes.own(level);
    most = std::max(most, held + done + sizes.scratch(c.features(level), c.predictor(level).width, level));
  }
  return most;
}

/// Rows of the input of a band, with those that the band before read, too.
int64_t seen(const Bands& bands) {
  return std::min(bands.height, bands.rows + 2);
}

/// The most while a band goes through convolutions of one width; follows Chain.
int64_t chaining(const Sizes& sizes, int64_t width, int64_t convolutions, const Bands& bands, int64_t level) {
  if (convolutions == 0) return 0;
  const int64_t columns = sizes.columns(level);
  const int64_t joined = width * (bands.rows + seen(bands)) * columns;  // what comes, and with what was kept
  return joined + sizes.scratch(width, width, bands.rows, columns);
}

/// The most while one flow is computed, beside the frames and the other flow; follows FlowPredictor.
int64_t estimating(const Sizes& sizes) {
  const Config& c = sizes.config;
  int64_t most = 0;
  for (int64_t level = 0; level < c.pyramid_levels; ++level) {
    const int64_t features = c.features(level), columns = sizes.columns(level);
    const auto [convolutions, wide] = c.predictor(level);
    const Bands bands = sizes.bands(features, level);
    const int64_t rows = seen(bands);
    // What the first picture adds, and what comes of both.
    const int64_t own = level >= kFirstOwn ? 0 : wide * rows * columns;
    const int64_t first = own + wide * bands.rows * columns + sizes.scratch(features, wide, rows, columns);
    const int64_t last = (wide + wide / 2) * bands.rows * columns;
    const int64_t band =
        features * rows * columns + std::max({first, chaining(sizes, wide, convolutions - 1, bands, level), last});
    // The coarser flow at this size, and what is added to it where that is put together of bands.
    most = std::max(most, (bands.count > 1 ? 4 : 2) * sizes.pixels(level) + band);
  }
  return most;
}

int64_t flows(const Sizes& sizes) {
  int64_t sum = 0;
  for (int64_t level = 0; level < sizes.config.fusion_levels(); ++level) sum += 2 * sizes.pixels(level);
  return sum;
}

/// The most while pictures are put together, beside the frames and both flows; follows FusionLevel.
int64_t fusing(const Sizes& sizes) {
  const Config& c = sizes.config;
  const int64_t coarsest = c.fusion_levels() - 1;
  int64_t coarser = c.aligned(coarsest) * sizes.pixels(coarsest), most = coarser;
  for (int64_t level = coarsest - 1; level >= 0; --level) {
    const int64_t width = c.fusion[size_t(level)], channels = c.aligned(level) + width;
    const int64_t columns = sizes.columns(level);
    const Bands bands = sizes.bands(channels, level);
    const int64_t rows = seen(bands), result = (level == 0 ? 3 : width) * sizes.pixels(level);
    const int64_t products = 4 * width * std::min(rows / 2 + 1, sizes.rows(level + 1)) * sizes.columns(level + 1);
    const int64_t first = width * bands.rows * columns + sizes.scratch(channels, width, bands.rows, columns);
    const int64_t second = chaining(sizes, width, 1, bands, level);
    const int64_t last = (width + (level == 0 ? 3 : 0)) * bands.rows * columns;
    // Where there is one band, the coarser level goes with its products, and the result is what the band gives.
    const bool whole = bands.count == 1;
    most = std::max(most, channels * rows * columns + (whole ? 0 : coarser + result) +
                              std::max({products + (whole ? coarser : 0), first, second, last}));
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
  const int64_t between = std::max({flows(sizes) + estimating(sizes), 2 * flows(sizes) + fusing(sizes)});
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
    const bool held = level >= kFirstOwn;
    needs.frame_flops += held ? own : 0;
    needs.pair_flops +=
        2 * ((held ? 1 : 2) * own + convolving((convolutions - 1) * wide, wide, 9, sizes.pixels(level)) +
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
