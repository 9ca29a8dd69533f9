#include "models/vae/decoder.h"

#include <ATen/ATen.h>

#include "kernels/op/range.h"
#include "models/vae/latent.h"
#include "models/weights/scope.h"

namespace wan::vae {

DecoderLevel::DecoderLevel(const Scope& at, int64_t number, int64_t in, int64_t out, bool doubles, bool temporal,
                           Build& build)
    : number(number), slots{build.slots, 0} {
  for (int64_t block = 0; block < 3; ++block) blocks.emplace_back(at / (number + block), block ? out : in, out, build);
  if (doubles) up.emplace(at / (number + 3), out, temporal, build);
  slots.end = build.slots;
}

Tensor DecoderLevel::operator()(Tensor x, FrameCache& cache, const Observer& observe) const {
  int64_t layer = number;
  const auto done = [&](Tensor y) {
    x = std::move(y);
    if (observe) observe("upsamples" + std::to_string(layer), x);
    ++layer;
  };
  for (const ResidualBlock& block : blocks) done(block(x, cache));
  if (up) done((*up)(x, cache));
  return x;
}

// A step up halves the channels, so each level but the first starts at half the width of the one before.
Decoder::Decoder(const Scope& root, int64_t base, int64_t latent, at::ScalarType dtype)
    : build{dtype},
      latent(latent),
      conv2(root / "conv2", latent, latent, 3, build),
      input(root / "decoder" / "conv1", latent, 4 * base, build),
      middle(root / "decoder" / "middle", 4 * base, build),
      levels{DecoderLevel(root / "decoder" / "upsamples", 0, 4 * base, 4 * base, true, true, build),
             DecoderLevel(root / "decoder" / "upsamples", 4, 2 * base, 4 * base, true, true, build),
             DecoderLevel(root / "decoder" / "upsamples", 8, 2 * base, 2 * base, true, false, build),
             DecoderLevel(root / "decoder" / "upsamples", 12, base, base, false, false, build)},
      head(root / "decoder" / "head", 0, 2, base, 3, build) {}

DecoderStream::DecoderStream(const Decoder& decoder, Observer observe, Windows windows, int64_t tile_rows)
    : decoder_(decoder), observe_(std::move(observe)), cache_(decoder.build.slots, windows) {
  if (tile_rows == 0) return;
  TORCH_CHECK(windows == Windows::Shared, "[vae] tiles must have shared windows, got windows of each layer's own with ",
              tile_rows, " rows");
  for (const DecoderLevel& level : decoder.levels) tiled_.emplace_back(level.slots, kDecoderHalo, tile_rows);
  // The head belongs to the last level: its convolution is the seventh.
  tiled_.back() = {{decoder.levels.back().slots.first, decoder.head.conv.slot + 1}, kDecoderHalo, tile_rows};
}

Tensor DecoderStream::level(size_t number, Tensor x) {
  const kernels::Range range(kernels::RangeKind::Block, "VAE level", int64_t(number));
  const auto stage = [&](Tensor part, FrameCache& cache) {
    part = decoder_.levels[number](std::move(part), cache, observe_);
    return number + 1 < decoder_.levels.size() ? part : decoder_.head(std::move(part), cache);
  };
  return tiled_.empty() ? stage(std::move(x), cache_) : tiled_[number](std::move(x), cache_, stage);
}

int64_t DecoderStream::host_bytes() const {
  int64_t sum = 0;
  for (const TiledStage& stage : tiled_) sum += stage.host_bytes();
  return sum;
}

Tensor DecoderStream::next(const Tensor& latent) {
  TORCH_CHECK(latent.dim() == 4 && latent.size(0) == decoder_.latent && latent.size(1) == 1 && latent.numel() > 0,
              "[vae] a latent frame must be [", decoder_.latent, ", 1, h, w], got ", latent.sizes());
  if (shape_.empty()) shape_ = latent.sizes().vec();
  TORCH_CHECK(latent.sizes() == shape_, "[vae] all latent frames of a clip must have one size, got ", latent.sizes(),
              " after ", shape_);
  const auto observed = [&](const char* name, Tensor x) {
    if (observe_) observe_(name, x);
    return x;
  };
  Tensor x = latent.to(decoder_.conv2.weight.device()).permute({1, 2, 3, 0});
  x = observed("conv2", decoder_.conv2(denormalise(x).to(decoder_.build.dtype).contiguous()));
  x = observed("conv1", decoder_.input(std::move(x), {}, cache_));
  x = decoder_.middle(std::move(x), cache_, observe_);
  for (size_t number = 0; number < decoder_.levels.size(); ++number) x = level(number, std::move(x));
  observed("head", x);
  return computed(x).permute({3, 0, 1, 2}).clamp(-1, 1).contiguous();
}

Tensor decode(const Decoder& decoder, const Tensor& latent, const Observer& observe) {
  TORCH_CHECK(latent.dim() == 4 && latent.size(1) > 0, "[vae] a latent must be [", decoder.latent, ", T, h, w], got ",
              latent.sizes());
  DecoderStream stream(decoder, observe);
  const int64_t frames = 4 * (latent.size(1) - 1) + 1;
  Tensor video;
  for (int64_t t = 0, done = 0; t < latent.size(1); ++t) {
    Tensor part = stream.next(latent.narrow(1, t, 1));
    if (!video.defined()) video = at::empty({3, frames, part.size(2), part.size(3)}, part.options());
    video.narrow(1, done, part.size(1)).copy_(part);
    done += part.size(1);
  }
  return video;
}

}  // namespace wan::vae
