#include "engine/frames/vae_clip.h"

#include <ATen/ATen.h>

#include "engine/residency/needs.h"
#include "engine/residency/tile_needs.h"
#include "kernels/op/device_failure.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

bool is_finite(const at::Tensor& x) {
  return x.isfinite().all().item<bool>();
}

bool is_half(const vae::Vae& vae) {
  return vae.decoder.build.dtype == at::kHalf;
}

Extent picture(const at::Tensor& latent) {
  return {1, latent.size(2) * vae::kPixels, latent.size(3) * vae::kPixels};
}

/// Unloads the VAE in half and returns the one in float32.
const vae::Vae& wide_alone(Networks& networks) {
  networks.drop(Network::Vae);
  return networks.wide_vae();
}

}  // namespace

void ClipDecoder::open(const vae::Vae& vae, const at::Tensor& latent) {
  const vae::Build& build = vae.decoder.build;
  const int64_t width = vae.decoder.head.gamma.size(0);
  const uint64_t own = vae_bytes(width, picture(latent), build.dtype, vae::Windows::Own);
  const Placement& placement = networks_.placement();
  stream_.reset();                   // its caches make room,
  release_cached(placement.device);  // which the driver sees only then
  const int64_t rows = networks_.vae_tile_rows(build.dtype);
  vae::Windows windows = vae::Windows::Shared;
  if (rows == 0 && !networks_.has_small_windows()) windows = windows_for(placement, own, networks_.vae_room());
  if (windows == vae::Windows::Own)
    networks_.count_vae(own);
  else if (build.dtype != placement.vae)  // what was counted is half's
    networks_.count_vae(rows > 0 ? tile_needs(width, picture(latent), build.dtype, rows).device
                                 : vae_bytes(width, picture(latent), build.dtype, windows));
  stream_.emplace(vae.decoder, vae::Observer(), windows, rows);
  half_ = is_half(vae);
}

at::Tensor ClipDecoder::next(const at::Tensor& latent) {
  TORCH_CHECK(latent.dim() == 4, "[vae] a latent frame must be [16, 1, h, w], got ", latent.sizes());
  if (!stream_) open(networks_.vae(), latent);
  at::Tensor frames = stream_->next(latent);
  if (!half_) return frames;
  seen_.push_back(latent);
  if (is_finite(frames)) return frames;
  frames.reset();
  try {
    return again_in_float32();
  } catch (const c10::Error& error) {
    if (kernels::device_failure(error) != kernels::DeviceFailure::Full) throw;
    stream_.reset();
    const VaeTiles tiles{networks_.vae_tile_rows(at::kHalf), networks_.vae_tile_rows(at::kFloat)};
    refuse_wide_decode(networks_.parts(), picture(latent), networks_.placement(), tiles);
  }
}

at::Tensor ClipDecoder::again_in_float32() {
  stream_.reset();
  open(wide_alone(networks_), seen_.back());
  at::Tensor frames;
  for (const at::Tensor& past : seen_) frames = stream_->next(past);
  seen_.clear();
  return frames;
}

VaeTiles told_tiles(const Networks& networks, const Log& log) {
  const VaeTiles& tiles = networks.settled_tiles();
  if (const int64_t rows = tiles.of(networks.placement().vae); rows > 0)
    log("vae",
        {{"tile_rows", rows},
         {"reason", "whole frames have no room on the card that the job was begun on, or in its --device-memory"}});
  return tiles;
}

at::Tensor encode_clip(const vae::Vae& vae, int64_t frames,
                       const std::function<at::Tensor(int64_t start, int64_t count)>& chunk, const Run& run,
                       int64_t tile_rows) {
  vae::EncoderStream stream(vae.encoder, {}, /*reuse=*/true, tile_rows);
  std::vector<at::Tensor> latents;
  for (int64_t start = 0; start < frames; start += start == 0 ? 1 : 4) {
    run.progress.at({Stage::Encode, int64_t(latents.size()), (frames - 1) / 4 + 1, "", run.label});
    latents.push_back(stream.next(chunk(start, start == 0 ? 1 : 4)));
  }
  return at::cat(latents, 1);
}

at::Tensor pixel_latent(const vae::Vae& vae, const at::Tensor& pixels, const Run& run, int64_t tile_rows) {
  at::Device device = vae.encoder.conv1.weight.device();
  auto chunk = [&](int64_t start, int64_t count) { return pixels.narrow(1, start, count).to(device); };
  return encode_clip(vae, pixels.size(1), chunk, run, tile_rows);
}

at::Tensor encode_in_range(Networks& networks,
                           const std::function<at::Tensor(const vae::Vae& vae, int64_t tile_rows)>& encode) {
  const auto encode_by = [&](const vae::Vae& vae) {
    return encode(vae, networks.vae_tile_rows(vae.encoder.build.dtype));
  };
  const vae::Vae& vae = networks.vae();
  const bool half = is_half(vae);
  at::Tensor latent = encode_by(vae);
  return !half || is_finite(latent) ? latent : encode_by(wide_alone(networks));
}

}  // namespace wan
