#include "engine/frames/decode.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "engine/residency/not_finite.h"
#include "kernels/op/range.h"
#include "models/vae/frames.h"

namespace wan {

at::Tensor decode_chunk(ClipDecoder& decoder, const at::Tensor& latents, int64_t chunk) {
  at::Tensor frames = decoder.next(latents.narrow(1, chunk, 1));
  if (frames.isfinite().all().item<bool>()) return frames;
  throw NotFinite("[decode] chunk " + std::to_string(chunk + 1) + " of " + std::to_string(latents.size(1)) +
                  " gave NaN or Inf; the VAE's file, or the latents, may be damaged");
}

void decode_frames(Networks& networks, const at::Tensor& latents, int64_t count, const Run& run,
                   const std::function<void(const at::Tensor& rgb)>& take) {
  const kernels::Range phase(kernels::RangeKind::Phase, "decode");
  ClipDecoder decoder(networks);
  const int64_t chunks = (count + 2) / 4 + 1;
  int64_t done = 0;
  for (int64_t chunk = 0; done < count; ++chunk) {
    run.progress.at({Stage::Decode, chunk, chunks, "", run.label});
    const kernels::Range range(kernels::RangeKind::Step, "latent frame", chunk);
    const at::Tensor frames = vae::to_uint8(decode_chunk(decoder, latents, chunk)).cpu();
    const int64_t wanted = std::min(frames.size(0), count - done);
    take(frames.narrow(0, 0, wanted));
    done += wanted;
  }
  run.progress.at({Stage::Decode, chunks, chunks, "", run.label});
}

}  // namespace wan
