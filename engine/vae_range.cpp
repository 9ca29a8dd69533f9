#include "engine/vae_range.h"

#include <ATen/ATen.h>

#include "engine/memory.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

bool is_finite(const at::Tensor& x) {
  return x.isfinite().all().item<bool>();
}

bool is_half(const vae::Vae& vae) {
  return vae.decoder.build.dtype == at::kHalf;
}

}  // namespace

void ClipDecoder::open(const vae::Vae& vae, const at::Tensor& latent) {
  const Extent frame = {1, latent.size(2) * vae::kPixels, latent.size(3) * vae::kPixels};
  const vae::Build& build = vae.decoder.build;
  const uint64_t own = vae_bytes(vae.decoder.head.gamma.numel(), frame, build.dtype, vae::Windows::Own);
  const Target& target = models_.target();
  stream_.reset();  // its caches make room
  stream_.emplace(vae.decoder, vae::Observer(), windows_for(target, own, available_memory(target.device)));
  half_ = is_half(vae);
}

at::Tensor ClipDecoder::next(const at::Tensor& latent) {
  TORCH_CHECK(latent.dim() == 4, "[vae] a latent frame must be [16, 1, h, w], got ", latent.sizes());
  if (!stream_) open(models_.vae(), latent);
  at::Tensor frames = stream_->next(latent);
  if (!half_) return frames;
  seen_.push_back(latent);
  if (is_finite(frames)) return frames;
  stream_.reset();
  open(models_.wide_vae(), latent);
  for (const at::Tensor& past : seen_) frames = stream_->next(past);
  seen_.clear();
  return frames;
}

at::Tensor encode_in_range(Models& models, const std::function<at::Tensor(const vae::Vae&)>& encode) {
  const vae::Vae& vae = models.vae();
  const bool half = is_half(vae);
  at::Tensor latent = encode(vae);
  return !half || is_finite(latent) ? latent : encode(models.wide_vae());
}

}  // namespace wan
