#include "engine/frames/latent_preview.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "engine/residency/not_finite.h"

namespace wan {

namespace {

constexpr int64_t kSide = 96, kShapes = 12;  // pixels of a picture each way; discs and rectangles in it
constexpr uint64_t kSeed = 16;

/// Draws the pictures that a map is fitted on, from a generator of its own. What photographs have in common and drawn
/// latents have not: areas of one colour that end in edges, light that falls off, and texture of some coarseness.
class Painter {
 public:
  Painter()
      : generator_(at::detail::createCPUGenerator(kSeed)),
        x_((at::arange(kSide, at::kFloat) + 0.5).view({1, kSide})),
        y_(x_.t()) {}

  /// float32 [3, 96, 96] in [-1, 1].
  at::Tensor picture() {
    at::Tensor drawn = surface();
    for (int64_t shape = 0; shape < kShapes; ++shape) {
      const at::Tensor where = area();
      drawn = at::where(where, surface(), drawn);
    }
    return drawn;
  }

 private:
  double uniform(double low, double high) {
    return low + (high - low) * at::rand({1}, generator_, at::kDouble).item<double>();
  }

  at::Tensor surface() {
    const at::Tensor colour = at::rand({3, 1, 1}, generator_, at::kFloat) * 2 - 1;
    const double right = uniform(-0.6, 0.6), down = uniform(-0.6, 0.6);
    const at::Tensor slope = (x_ / kSide - 0.5) * right + (y_ / kSide - 0.5) * down;
    const int64_t grain = int64_t(1) << int64_t(uniform(0, 3));
    const double strength = 0.3 * std::pow(uniform(0, 1), 2);
    const at::Tensor texture = at::randn({kSide / grain, kSide / grain}, generator_, at::kFloat) * strength;
    return (colour + slope + texture.repeat_interleave(grain, 0).repeat_interleave(grain, 1)).clamp(-1, 1);
  }

  /// bool [96, 96].
  at::Tensor area() {
    const double radius = double(kSide) * std::exp(uniform(std::log(0.05), std::log(0.35)));
    const at::Tensor right = x_ - uniform(0, kSide), down = y_ - uniform(0, kSide);
    if (uniform(0, 1) < 0.5) return right.square() + down.square() < radius * radius;
    return (right.abs() < radius).logical_and(down.abs() < radius * uniform(0.5, 1.5));
  }

  at::Generator generator_;
  const at::Tensor x_, y_;
};

}  // namespace

vae::LatentRgb fit_preview(const vae::Vae& vae, const std::function<void(int64_t picture)>& before) {
  Painter painter;
  std::vector<vae::DecodedLatent> decoded;
  for (int64_t picture = 0; picture < kPreviewPictures; ++picture) {
    if (before) before(picture);
    const at::Tensor latent = vae::EncoderStream(vae.encoder).next(painter.picture().unsqueeze(1));
    decoded.push_back({latent, vae::DecoderStream(vae.decoder).next(latent)});
  }
  vae::LatentRgb map = vae::fit_latent_rgb(decoded);
  if (!map.factors.isfinite().all().item<bool>())
    throw NotFinite("[preview] the VAE gave NaN or Inf for a drawn picture; its file may be damaged");
  return map;
}

}  // namespace wan
