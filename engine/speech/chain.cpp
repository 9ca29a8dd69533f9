#include "engine/speech/chain.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan {
namespace {

/// Frames of the image at the end of the buffer when the video starts from it.
constexpr int64_t kImageFrames = 6;
/// Frames at the start of the first clip that the reference throws away.
constexpr int64_t kDropped = 3;

bool has_motion(int64_t number, const ChainOptions& options) {
  return number > 0 || options.start_from_image;
}

}  // namespace

MotionBuffer::MotionBuffer(int64_t height, int64_t width, const Tensor& image)
    : frames_(at::zeros({3, kFrames, height, width}, at::kFloat)) {
  if (image.defined()) frames_.narrow(1, kFrames - kImageFrames, kImageFrames).copy_(image);
}

MotionBuffer::MotionBuffer(Tensor frames) : frames_(std::move(frames)) {
  TORCH_CHECK(frames_.dim() == 4 && frames_.size(0) == 3 && frames_.size(1) == kFrames,
              "[MotionBuffer] frames must be [3, 73, H, W], got ", frames_.sizes());
}

void MotionBuffer::push(const Tensor& frames) {
  const int64_t fresh = std::min(frames.size(1), kFrames);
  const Tensor newest = frames.narrow(1, frames.size(1) - fresh, fresh).cpu();
  frames_ = at::cat({frames_.narrow(1, fresh, kFrames - fresh), newest}, 1);
}

void chain_clips(const std::vector<Clip>& clips, int64_t first, const Tensor& reference_latents, MotionBuffer& buffer,
                 const ChainOptions& options, const ChainSteps& steps) {
  for (auto number = first; number < int64_t(clips.size()); ++number) {
    const bool motion = has_motion(number, options);
    ClipTurn turn{number, clips[number], options.seed + uint64_t(number), {}};
    // With clips shorter than 76 frames the second clip's buffer still begins with grey: it is encoded as it is.
    if (motion) turn.motion_latents = steps.encode(buffer.frames());
    const Tensor lead = motion ? turn.motion_latents : reference_latents;
    const Tensor latents = at::cat({lead.to(at::kFloat), steps.sample(turn).to(lead.device(), at::kFloat)}, 1);
    // The lead's own frames: 73 for 19 latents; 1 for the image, and the 3 that the reference drops after it.
    int64_t unwanted = motion ? MotionBuffer::kFrames : 1 + kDropped;
    bool hold = !motion && options.hold_first_frame;
    steps.decode(latents, [&](const Tensor& piece) {
      const int64_t skipped = std::min(unwanted, piece.size(1));
      unwanted -= skipped;
      if (skipped == piece.size(1)) return;
      const Tensor frames = piece.narrow(1, skipped, piece.size(1) - skipped);
      buffer.push(frames);
      if (hold) steps.show(frames.narrow(1, 0, 1).expand({-1, kDropped, -1, -1}));
      hold = false;
      steps.show(frames);
    });
    steps.finished(number, buffer);
  }
}

int64_t chained_frames(const std::vector<Clip>& clips, const ChainOptions& options) {
  int64_t frames = 0;
  for (const Clip& clip : clips) frames += clip.frames;
  return has_motion(0, options) || options.hold_first_frame ? frames : frames - kDropped;
}

Tensor pose_latents(const Tensor& pose, const Clip& clip, const std::function<Tensor(const Tensor& pixels)>& encode) {
  const int64_t start = std::min(clip.start, pose.size(1)), count = std::min(clip.frames, pose.size(1) - start);
  Tensor pixels = at::full({3, clip.frames + 1, pose.size(2), pose.size(3)}, -1, at::kFloat);
  pixels.narrow(1, 1, count).copy_(pose.narrow(1, start, count));
  // The first frame twice: the encoder makes one latent of the first frame alone, which is dropped.
  pixels.narrow(1, 0, 1).copy_(pixels.narrow(1, 1, 1));
  return encode(pixels).narrow(1, 1, clip.frames / 4);
}

}  // namespace wan
