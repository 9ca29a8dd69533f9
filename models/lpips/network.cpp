#include "models/lpips/network.h"

#include <string_view>

#include "models/names/shapes.h"

namespace wan::lpips {
namespace {

using names::axis;

constexpr Layer kAlexNet[] = {
    {.index = 0, .in = 3, .out = 64, .kernel = 11, .stride = 4, .padding = 2, .pool = 0, .tap = true},
    {.index = 3, .in = 64, .out = 192, .kernel = 5, .stride = 1, .padding = 2, .pool = 3, .tap = true},
    {.index = 6, .in = 192, .out = 384, .kernel = 3, .stride = 1, .padding = 1, .pool = 3, .tap = true},
    {.index = 8, .in = 384, .out = 256, .kernel = 3, .stride = 1, .padding = 1, .pool = 0, .tap = true},
    {.index = 10, .in = 256, .out = 256, .kernel = 3, .stride = 1, .padding = 1, .pool = 0, .tap = true},
};

constexpr Layer of_vgg(int64_t index, int64_t in, int64_t out, int64_t pool, bool tap) {
  return {.index = index, .in = in, .out = out, .kernel = 3, .stride = 1, .padding = 1, .pool = pool, .tap = tap};
}
constexpr Layer kVgg16[] = {
    of_vgg(0, 3, 64, 0, false),    of_vgg(2, 64, 64, 0, true),     of_vgg(5, 64, 128, 2, false),
    of_vgg(7, 128, 128, 0, true),  of_vgg(10, 128, 256, 2, false), of_vgg(12, 256, 256, 0, false),
    of_vgg(14, 256, 256, 0, true), of_vgg(17, 256, 512, 2, false), of_vgg(19, 512, 512, 0, false),
    of_vgg(21, 512, 512, 0, true), of_vgg(24, 512, 512, 2, false), of_vgg(26, 512, 512, 0, false),
    of_vgg(28, 512, 512, 0, true)};

/// The size of a layer's output; at most 0 where there is none.
int64_t output_side(const Layer& layer, int64_t side) {
  if (layer.pool > 0) side = side < layer.pool ? 0 : (side - layer.pool) / 2 + 1;
  const int64_t padded = side + 2 * layer.padding;
  return side <= 0 || padded < layer.kernel ? 0 : (padded - layer.kernel) / layer.stride + 1;
}

bool has(const StoredTensors& tensors, const std::string& path) {
  return tensors.contains(path + ".weight");
}

/// By the first convolutions: only AlexNet's are of 11 pixels, and SqueezeNet has one before its first pooling.
bool tell_features(const StoredTensors& tensors, Contents& contents) {
  const bool torchvision = contents.features == "features";
  const std::string first = torchvision ? contents.features + ".0" : contents.features + "1.0";
  if (axis(tensors, first + ".weight", 2) == 11)
    contents.backbone = Backbone::AlexNet;
  else if (has(tensors, torchvision ? contents.features + ".2" : contents.features + "1.2"))
    contents.backbone = Backbone::Vgg16;
  else
    return false;
  return true;
}

/// By the width of the second tap.
bool tell_heads(const StoredTensors& tensors, Contents& contents) {
  if (has(tensors, contents.head(kTaps))) return false;  // SqueezeNet has seven
  switch (axis(tensors, contents.head(1) + ".weight", 1)) {
    case 192:
      contents.backbone = Backbone::AlexNet;
      return true;
    case 128:
      contents.backbone = Backbone::Vgg16;
      return true;
    default:
      return false;
  }
}

}  // namespace

const char* name(Backbone backbone) {
  return backbone == Backbone::AlexNet ? "AlexNet" : "VGG16";
}

std::span<const Layer> layers(Backbone backbone) {
  return backbone == Backbone::AlexNet ? std::span<const Layer>(kAlexNet) : std::span<const Layer>(kVgg16);
}

int64_t least_side(Backbone backbone) {
  for (int64_t least = 1;; ++least) {
    int64_t side = least;
    for (const Layer& layer : layers(backbone)) side = output_side(layer, side);
    if (side > 0) return least;
  }
}

std::string Contents::path(const Layer& layer, int64_t tap) const {
  const std::string index = std::to_string(layer.index);
  return features == "features" ? features + "." + index : features + std::to_string(tap + 1) + "." + index;
}

Contents contents_of(const StoredTensors& tensors) {
  Contents contents;
  for (const char* features : {"net.slice", "slice"})
    if (contents.features.empty() && has(tensors, std::string(features) + "1.0")) contents.features = features;
  if (contents.features.empty() && has(tensors, "features.0")) contents.features = "features";
  for (const char* heads : {"lin", "lins."})
    for (const char* end : {".model.1", ".model.0"})
      if (contents.heads.empty() && has(tensors, heads + std::string("0") + end))
        contents.heads = heads, contents.head_end = end;
  if (!contents.features.empty())
    contents.known = tell_features(tensors, contents);
  else if (!contents.heads.empty())
    contents.known = tell_heads(tensors, contents);
  return contents;
}

}  // namespace wan::lpips
