#include "models/vae/encoder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "models/vae/latent.h"
#include "models/weights/scope.h"

namespace wan::vae {
namespace {

constexpr int64_t kChunk = 4;  // frames to a latent frame, but for the first

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && at::equal(a.view(at::kByte), b.view(at::kByte));
}

}  // namespace

EncoderLevel::EncoderLevel(const Scope& at, int64_t number, int64_t in, int64_t out, bool halves, bool temporal,
                           Build& build)
    : number(number), slots{build.slots, 0} {
  blocks.emplace_back(at / number, in, out, build);
  blocks.emplace_back(at / (number + 1), out, out, build);
  if (halves) down.emplace(at / (number + 2), out, temporal, build);
  slots.end = build.slots;
}

Tensor EncoderLevel::operator()(Tensor x, FrameCache& cache, const Observer& observe) const {
  int64_t layer = number;
  const auto done = [&](Tensor y) {
    x = std::move(y);
    if (observe) observe("downsamples" + std::to_string(layer), x);
    ++layer;
  };
  for (const ResidualBlock& block : blocks) done(block(x, cache));
  if (down) done((*down)(x, cache));
  return x;
}

Encoder::Encoder(const Scope& root, int64_t base, int64_t latent, at::ScalarType dtype)
    : build{dtype},
      latent(latent),
      input(root / "encoder" / "conv1", 3, base, build),
      levels{EncoderLevel(root / "encoder" / "downsamples", 0, base, base, true, false, build),
             EncoderLevel(root / "encoder" / "downsamples", 3, base, 2 * base, true, true, build),
             EncoderLevel(root / "encoder" / "downsamples", 6, 2 * base, 4 * base, true, true, build),
             EncoderLevel(root / "encoder" / "downsamples", 9, 4 * base, 4 * base, false, false, build)},
      middle(root / "encoder" / "middle", 4 * base, build),
      head(root / "encoder" / "head", 0, 2, 4 * base, 2 * latent, build),
      conv1(root / "conv1", 2 * latent, 2 * latent, 3, build) {}

Tensor Encoder::stage(int64_t number, Tensor x, FrameCache& cache, const Observer& observe) const {
  if (number == 0) {
    x = input(std::move(x), {}, cache);
    if (observe) observe("conv1", x);
  }
  x = levels[number](std::move(x), cache, observe);
  if (number < kStages - 1) return x;
  x = head(middle(std::move(x), cache, observe), cache);
  if (observe) observe("head", x);
  return conv1(x);
}

int64_t Encoder::settled_after(int64_t number, int64_t settled) const {
  const int64_t last = number == kStages - 1;
  // Convolutions of three frames: two in each residual block; before the first stage one; after the last five more.
  const int64_t convolutions = 2 * std::ssize(levels[number].blocks) + (number == 0) + 5 * last;
  settled = std::max<int64_t>(settled - 2 * convolutions, 0);
  const bool temporal = levels[number].down && levels[number].down->slot >= 0;
  return temporal ? std::max<int64_t>(settled - 1, 0) / 2 : settled;
}

EncoderStream::EncoderStream(const Encoder& encoder, Observer observe, bool reuse, int64_t tile_rows)
    : encoder_(encoder), observe_(std::move(observe)), reuse_(reuse), cache_(encoder.build.slots) {
  for (int64_t number = 0; tile_rows != 0 && number < Encoder::kStages - 1; ++number) {
    Slots slots = encoder.levels[size_t(number)].slots;
    if (number == 0) slots.first = encoder.input.slot;
    tiled_.emplace_back(slots, kEncoderHalo, tile_rows);
  }
}

Tensor EncoderStream::stage(int64_t number, Tensor x) {
  if (number >= std::ssize(tiled_)) return encoder_.stage(number, std::move(x), cache_, observe_);
  return tiled_[size_t(number)](std::move(x), cache_, [&](Tensor part, FrameCache& cache) {
    return encoder_.stage(number, std::move(part), cache, observe_);
  });
}

int64_t EncoderStream::host_bytes() const {
  int64_t sum = 0;
  for (const TiledStage& stage : tiled_) sum += stage.host_bytes();
  return sum;
}

int64_t EncoderStream::settled_frames(const Tensor& clip) {
  const bool repeats = previous_.defined() && same_bits(clip, previous_);
  settled_ = repeats ? settled_ + clip.size(0) : 0;
  previous_ = clip;
  return settled_;
}

Tensor EncoderStream::next(const Tensor& chunk) {
  const int64_t frames = previous_.defined() ? kChunk : 1;
  TORCH_CHECK(chunk.dim() == 4 && chunk.size(0) == 3 && chunk.size(1) == frames && chunk.size(2) > 0 &&
                  chunk.size(3) > 0 && chunk.size(2) % kPixels == 0 && chunk.size(3) % kPixels == 0,
              "[vae] the next chunk must be [3, ", frames, ", H, W] with multiples of ", kPixels, ", got ",
              chunk.sizes());
  TORCH_CHECK(!previous_.defined() || (previous_.size(1) == chunk.size(2) && previous_.size(2) == chunk.size(3)),
              "[vae] all chunks of a clip must have one size, got ", chunk.sizes(), " after frames of ",
              previous_.sizes());
  // A copy in any case: the caller may refill its buffer, and the next chunk is compared with this one.
  Tensor x = at::empty({frames, chunk.size(2), chunk.size(3), 3},
                       chunk.options().device(encoder_.input.weight.device()).dtype(encoder_.build.dtype));
  x.copy_(chunk.permute({1, 2, 3, 0}));
  int64_t settled = settled_frames(x);
  for (int64_t number = 0; number < Encoder::kStages; ++number) {
    Tensor& output = outputs_[number];
    const bool repeats = settled > 0;
    settled = encoder_.settled_after(number, settled);
    const bool reusable = reuse_ && output.defined() && settled >= output.size(0);
    // A stage that is not run keeps its caches, which would come out as they are.
    x = reusable ? output : stage(number, std::move(x));
    output = repeats ? x : Tensor();
  }
  const Tensor mu = x.narrow(3, 0, encoder_.latent);
  return normalise(mu).permute({3, 0, 1, 2}).contiguous();
}

Tensor encode(const Encoder& encoder, const Tensor& video, const Observer& observe) {
  TORCH_CHECK(video.dim() == 4 && video.size(1) % kChunk == 1, "[vae] a clip must be [3, 4n + 1, H, W], got ",
              video.sizes());
  EncoderStream stream(encoder, observe);
  std::vector<Tensor> latents = {stream.next(video.narrow(1, 0, 1))};
  for (int64_t frame = 1; frame < video.size(1); frame += kChunk)
    latents.push_back(stream.next(video.narrow(1, frame, kChunk)));
  return at::cat(latents, 1);
}

}  // namespace wan::vae
