#include "models/film/config.h"

#include <algorithm>

#include "models/files/error.h"
#include "models/names/shapes.h"

namespace wan::film {
namespace {

// Far beyond the published network, small enough that no product of sizes overflows.
constexpr int64_t kMostFilters = 1024, kWidest = 1 << 13, kMostConvolutions = 16;

std::string numbered(const std::string& path, int64_t index) {
  return path + "." + std::to_string(index);
}

Config::Predictor read_predictor(const StoredTensors& tensors, const std::string& path) {
  constexpr int64_t kOfPixels = 2;
  return {names::count(tensors, path + "._convs") - kOfPixels, names::axis(tensors, path + "._convs.0.0.weight", 0)};
}

}  // namespace

Config Config::of(const StoredTensors& tensors, const std::string& label) {
  const std::string extract = "extract.extract_sublevels.convs", flow = "predict_flow", fuse = "fuse.convs";
  const auto require = [&](int64_t value, int64_t least, int64_t most, const std::string& what) {
    if (value < least || value > most)
      throw ModelError(label, "must have " + what + " from " + std::to_string(least) + " to " + std::to_string(most) +
                                  ", has " + std::to_string(value) + "; is it a whole FILM, as film_net_fp32.pt?");
  };
  Config c{.filters = names::axis(tensors, extract + ".0.0.0.weight", 0),
           .sub_levels = names::count(tensors, extract),
           .predictors = {},
           .fusion = {}};
  require(c.filters, 1, kMostFilters, "a number of filters (axis 0 of " + extract + ".0.0.0.weight)");
  require(c.sub_levels, 1, c.pyramid_levels, "a number of sub-levels (" + extract + ".N)");

  // The file counts levels of their own from the coarsest.
  const int64_t own = names::count(tensors, flow + "._predictors");
  require(own, c.sub_levels - 1, c.pyramid_levels - 1, "a number of flow predictors (" + flow + "._predictors.N)");
  for (int64_t level = 0; level <= own; ++level) {
    const std::string path = level < own ? numbered(flow + "._predictors", own - 1 - level) : flow + "._predictor";
    c.predictors.push_back(read_predictor(tensors, path));
    require(c.predictors.back().convolutions, 1, kMostConvolutions, "a number of 3x3 convolutions in " + path);
    require(c.predictors.back().width, 2, kWidest, "a width of " + path);
  }

  const int64_t fused = names::count(tensors, fuse);
  require(fused, 1, c.pyramid_levels - 1, "a number of fusion levels (" + fuse + ".N)");
  for (int64_t level = 0; level < fused; ++level) {
    const std::string name = numbered(fuse, fused - 1 - level) + ".2.0.weight";
    c.fusion.push_back(names::axis(tensors, name, 0));
    require(c.fusion.back(), 1, kWidest, "a width (axis 0 of " + name + ")");
  }
  return c;
}

int64_t Config::features(int64_t level) const {
  int64_t sum = 0;
  for (int64_t sub = 0; sub < std::min(level + 1, sub_levels); ++sub) sum += filters << sub;
  return sum;
}

const Config::Predictor& Config::predictor(int64_t level) const {
  return predictors.at(size_t(std::min(level, int64_t(predictors.size()) - 1)));
}

}  // namespace wan::film
