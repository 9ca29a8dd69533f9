#include "models/vae/vae.h"

#include "models/files/error.h"
#include "models/vae/latent.h"

namespace wan::vae {
namespace {

/// Far beyond any VAE (the official one has 96), small enough that no product of widths overflows.
constexpr int64_t kWidest = 1 << 14;

int64_t width(Weights& weights, const Scope& at, const std::string& wanted) {
  const std::vector<int64_t> shape = at.shape("weight");
  if (shape.size() != 5)
    throw ModelError(weights.checkpoint().label(), at.path() + ".weight " + wanted + " is wanted, " +
                                                       (shape.empty() ? "none came" : "one of other rank came") +
                                                       "; is this the VAE of Wan 2.1?");
  return shape[0];
}

Widths read_widths(Weights& weights) {
  const Widths widths = {width(weights, weights.root() / "encoder" / "conv1", "[base, 3, 3, 3, 3]"),
                         width(weights, weights.root() / "conv2", "[latent, latent, 1, 1, 1]")};
  const std::string& label = weights.checkpoint().label();
  if (widths.base < 2 || widths.base > kWidest || widths.base % 2 != 0)
    throw ModelError(label, "the base width must be even and from 2 to " + std::to_string(kWidest) + ", got " +
                                std::to_string(widths.base) + " in encoder.conv1.weight");
  if (widths.latent != kLatentChannels)
    throw ModelError(label, "the latent must have " + std::to_string(kLatentChannels) + " channels, got " +
                                std::to_string(widths.latent) +
                                " in conv2.weight; its statistics are known for no other");
  return widths;
}

}  // namespace

Vae::Vae(Weights& weights, const Options& options) : Vae(weights.root(), read_widths(weights), options) {}

Vae::Vae(const Scope& root, const Widths& widths, const Options& options)
    : encoder(root, widths.base, widths.latent, options.dtype),
      decoder(root, widths.base, widths.latent, options.dtype) {}

}  // namespace wan::vae
