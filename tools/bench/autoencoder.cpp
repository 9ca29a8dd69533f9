// Rows of the VAE and of the text encoder, on drawn weights. Their errors: against the same network in float32, on a
// clip small enough for that (VAE), on the same input (text encoder).
#include <ATen/ATen.h>

#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "tools/bench/networks.h"

namespace wan::bench {
namespace {

constexpr uint64_t kSeed = 2;

std::shared_ptr<const vae::Vae> drawn_vae(const Site& site, int64_t base, at::ScalarType dtype) {
  at::manual_seed(kSeed);
  Weights weights(draw_on(site.device, at::kFloat), Place::on(site.device, at::kFloat, Precision::Exact, site.context));
  return std::make_shared<const vae::Vae>(weights.root(), vae::Widths{.base = base}, vae::Options{dtype});
}

/// Convolutions in float32 while it lives; on CUDA they run in TF32 by default.
struct WithoutTf32 {
  WithoutTf32() { at::globalContext().setAllowTF32CuDNN(false); }
  ~WithoutTf32() { at::globalContext().setAllowTF32CuDNN(before); }
  const bool before = at::globalContext().allowTF32CuDNN();
};

/// A whole clip, as the engine does it: a latent frame in, its frames out and gone.
Tensor decode_frames(const vae::Decoder& decoder, const Tensor& latent, vae::Windows windows, int64_t tile_rows = 0) {
  vae::DecoderStream stream(decoder, {}, windows, tile_rows);
  Tensor frames;
  for (int64_t t = 0; t < latent.size(1); ++t) frames = stream.next(latent.narrow(1, t, 1));
  return frames;
}

Tensor encode_frames(const vae::Encoder& encoder, const Tensor& video) {
  vae::EncoderStream stream(encoder);
  Tensor latent = stream.next(video.narrow(1, 0, 1));
  for (int64_t t = 1; t < video.size(1); t += 4) latent = stream.next(video.narrow(1, t, 4));
  return latent;
}

std::string type_name(at::ScalarType dtype) {
  return dtype == at::kHalf ? "fp16" : dtype == at::kBFloat16 ? "bf16" : "fp32 (TF32 by default)";
}

/// Operations of decoding at the official width, counted at 720p (639 TF for 81 frames), scale with the pixels.
constexpr double kDecodeFlopsPerPixelFrame = 639e12 / (21.0 * 720 * 1280);
constexpr double kEncodeFlopsPerPixelFrame = 382e12 / (21.0 * 720 * 1280);

using Whole = Tensor (*)(const vae::Vae& network, const Tensor& input);
Tensor decode_whole(const vae::Vae& network, const Tensor& latent) {
  return decode_frames(network.decoder, latent, vae::Windows::Shared);
}
Tensor decode_in_own_windows(const vae::Vae& network, const Tensor& latent) {
  return decode_frames(network.decoder, latent, vae::Windows::Own);
}
Tensor decode_in_tiles(const vae::Vae& network, const Tensor& latent) {
  return decode_frames(network.decoder, latent, vae::Windows::Shared, vae::kTileRows);
}
Tensor encode_whole(const vae::Vae& network, const Tensor& video) {
  return encode_frames(network.encoder, video);
}

struct Direction {
  Whole whole;
  double flops_per_pixel_frame;
  bool decodes;

  Tensor input(const Site& site, const std::vector<int64_t>& size) const {
    const at::TensorOptions floats = at::TensorOptions(site.device).dtype(at::kFloat);
    if (decodes) return at::randn({16, size[0], size[1], size[2]}, floats);
    return at::rand({3, 4 * (size[0] - 1) + 1, 8 * size[1], 8 * size[2]}, floats) * 2 - 1;
  }
};

Contest vae_contest(const Site& site, const NetworkSizes& sizes, const std::vector<int64_t>& size,
                    const Direction& direction) {
  const Tensor input = direction.input(site, size), small = direction.input(site, {3, 4, 6});
  const auto exact = drawn_vae(site, sizes.vae_base, at::kFloat);
  Tensor want;
  {
    const WithoutTf32 exactly;
    want = direction.whole(*exact, small);
  }
  Contest contest{.flops = direction.flops_per_pixel_frame * double(size[0] * size[1] * size[2] * 64),
                  .bytes = 0,
                  .ceiling = "fp16",
                  .error = {},
                  .bound = 5e-2,
                  .contestants = {}};
  // A contestant finishes with the small clip beside what float32 makes of it.
  contest.error = [](const Tensor& out) { return relative_l2(out[0], out[1]); };
  for (at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const auto network = drawn_vae(site, sizes.vae_base, dtype);
    const auto add = [&](const std::string& name, Whole whole) {
      const auto run = [=](size_t) { return whole(*network, input); };
      const auto finish = [=](const Tensor& out) {
        TORCH_CHECK(at::isfinite(out.sum()).item<bool>(), "the result is not finite");
        return at::stack({whole(*network, small).to(at::kFloat), want});
      };
      contest.contestants.push_back({name, true, run, "error on 9 frames of 48x32", finish});
    };
    add(type_name(dtype), direction.whole);
    if (direction.decodes && dtype == at::kHalf) {
      add("fp16, own windows", decode_in_own_windows);
      add("fp16, tiles", decode_in_tiles);
    }
  }
  return contest;
}

std::shared_ptr<const Umt5Encoder> drawn_umt5(const Site& site, const Umt5Shapes& shapes, at::ScalarType compute) {
  at::manual_seed(kSeed);
  Weights weights(draw_on(site.device, compute), Place::on(site.device, compute, Precision::Exact, site.context),
                  umt5_shapes(shapes));
  return std::make_shared<const Umt5Encoder>(weights.root(), compute);
}

Contest t5_contest(const Site& site, const NetworkSizes& sizes, int64_t layers) {
  Umt5Shapes shapes = sizes.t5;
  shapes.layers = layers;
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < sizes.t5_tokens; ++i) ids.push_back((i * 37 + 3) % shapes.vocabulary);
  const auto network = drawn_umt5(site, shapes, site.dtype);
  Tensor want = (*drawn_umt5(site, shapes, at::kFloat))(ids);
  const double tokens = double(sizes.t5_tokens), dim = double(shapes.dim), inner = double(shapes.inner);
  return {.flops = double(layers) *
                   (2 * tokens * (4 * dim * inner + 3 * dim * double(shapes.hidden)) + 4 * tokens * tokens * inner),
          .bytes = 0,
          .ceiling = "bf16",
          .error = [want](const Tensor& states) { return relative_l2(states, want); },
          .bound = 5e-2,
          .contestants = {{"wan-infer", true, [=](size_t) { return (*network)(ids); }, "error against float32"}}};
}

}  // namespace

double decode_flops(int64_t frames, int64_t height, int64_t width) {
  constexpr double kPixels = 64;  // of a latent's
  return kDecodeFlopsPerPixelFrame * kPixels * double(frames) * double(height) * double(width);
}

std::vector<Plan> vae_plans(const Site& site, const NetworkSizes& sizes) {
  std::vector<Plan> plans;
  const Direction decoding = {decode_whole, kDecodeFlopsPerPixelFrame, true};
  const Direction encoding = {encode_whole, kEncodeFlopsPerPixelFrame, false};
  for (const auto& [label, size] : sizes.latents) {
    const std::string shape = label + ", " + std::to_string(4 * (size[0] - 1) + 1) + " frames";
    plans.push_back(
        {"vae", "VAE decode", shape, [=, size = size] { return vae_contest(site, sizes, size, decoding); }});
    plans.push_back(
        {"vae", "VAE encode", shape, [=, size = size] { return vae_contest(site, sizes, size, encoding); }});
  }
  return plans;
}

std::vector<Plan> t5_plans(const Site& site, const NetworkSizes& sizes) {
  const std::string shape = std::to_string(sizes.t5_tokens) + " tokens";
  std::vector<Plan> plans;
  for (int64_t layers : {int64_t(1), sizes.t5.layers})
    plans.push_back({"t5", "text encoder, layers: " + std::to_string(layers), shape,
                     [=] { return t5_contest(site, sizes, layers); }});
  return plans;
}

}  // namespace wan::bench
