// Clips through the VAE where it computes in half precision: one that leaves half's range is done again in float32.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/residency/networks.h"
#include "engine/residency/run.h"

namespace wan {

/// Decodes a clip latent frame by latent frame, as vae::DecoderStream does.
///
/// A value above 65504 becomes Inf, and the next norm makes NaN of it, so an overflow anywhere shows in the frames of
/// its own chunk. Then the clip is decoded again in float32 up to this chunk and goes on so; frames given out before
/// were finite and stay.
class ClipDecoder {
 public:
  /// `networks` must outlive the decoder.
  explicit ClipDecoder(Networks& networks) : networks_(networks) {}
  /// latent [16, 1, h, w], the next one -> its frames [3, t, 8h, 8w] in [-1, 1], on the VAE's device. NaN or Inf in
  /// them come from the latents or the weights. Throws c10::Error for other shapes, ModelError; std::runtime_error
  /// where float32 is wanted and has no room.
  at::Tensor next(const at::Tensor& latent);

 private:
  at::Tensor again_in_float32();
  void open(const vae::Vae& vae, const at::Tensor& latent);

  Networks& networks_;
  std::vector<at::Tensor> seen_;  // what to decode again: 16 * h * w floats each
  std::optional<vae::DecoderStream> stream_;
  bool half_ = false;
};

/// The tiles that were settled, for the record of the video. On a card they have other last bits, so that they are
/// logged, too.
VaeTiles told_tiles(const Networks& networks, const Log& log);

/// Encodes a clip of `frames` frames, 4n + 1, chunk by chunk: chunk(start, count) gives [3, count, H, W] in [-1, 1].
/// Returns the normalised latent [16, n + 1, H/8, W/8] on the VAE's device. Progress is asked before each chunk.
/// `tile_rows` as vae::EncoderStream has it.
at::Tensor encode_clip(const vae::Vae& vae, int64_t frames,
                       const std::function<at::Tensor(int64_t start, int64_t count)>& chunk, const Run& run,
                       int64_t tile_rows = 0);
/// The same of pixels [3, F, H, W] in [-1, 1], on any device.
at::Tensor pixel_latent(const vae::Vae& vae, const at::Tensor& pixels, const Run& run, int64_t tile_rows = 0);

/// encode(vae, rows of its tiles) with the VAE of `networks`, and once more in float32 where half precision gave NaN or
/// Inf.
at::Tensor encode_in_range(Networks& networks,
                           const std::function<at::Tensor(const vae::Vae& vae, int64_t tile_rows)>& encode);

}  // namespace wan
