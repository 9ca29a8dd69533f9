// The chain of clips: each is denoised after the last frames of the one before it, so that a video goes on as long as
// its sound. Source: wan/speech2video.py, generate.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "engine/speech/clock.h"

namespace wan {

using at::Tensor;

/// The frames before a clip, oldest first: what its motion latents are made of.
class MotionBuffer {
 public:
  static constexpr int64_t kFrames = 73;

  /// All mid grey (0); `image` [3, 1, H, W] in [-1, 1], where given, is the last six frames.
  MotionBuffer(int64_t height, int64_t width, const Tensor& image = {});
  /// A buffer as `frames` gave it: [3, 73, H, W].
  explicit MotionBuffer(Tensor frames);

  /// Appends frames [3, t, H, W] and forgets the oldest. Any t: a clip may come in pieces.
  void push(const Tensor& frames);
  /// [3, 73, H, W] float32 on the CPU.
  const Tensor& frames() const { return frames_; }

 private:
  Tensor frames_;
};

/// What one clip of the chain is made from.
struct ClipTurn {
  int64_t number;
  Clip clip;
  uint64_t seed;          // of its noise: the video's seed + number
  Tensor motion_latents;  // [16, 19, h, w]; undefined where the clip has no motion tokens (drop_motion_frames)
};

struct ChainOptions {
  uint64_t seed = 0;
  /// The reference's init_first_frame: the video goes on from the image, which the first clip sees as motion.
  bool start_from_image = false;
  /// Shows the first kept frame three more times, so that every frame stands at the time of the audio it was made from.
  /// The reference does not: its picture leads the sound by three frames.
  bool hold_first_frame = true;
};

/// The work of a chain. All pixels are float32 in [-1, 1].
struct ChainSteps {
  /// [3, T, H, W] -> latents [16, (T - 1) / 4 + 1, h, w].
  std::function<Tensor(const Tensor& pixels)> encode;
  /// Noise to latents [16, frames / 4, h, w].
  std::function<Tensor(const ClipTurn& turn)> sample;
  /// Latents [16, T, h, w] -> 4 T - 3 frames, handed on in order in pieces [3, t, H, W].
  std::function<void(const Tensor& latents, const std::function<void(const Tensor& frames)>& piece)> decode;
  /// Frames of the video, in order.
  std::function<void(const Tensor& frames)> show;
  /// After each clip: the chain can go on from clip `number + 1` with `buffer` alone.
  std::function<void(int64_t number, const MotionBuffer& buffer)> finished = [](int64_t, const MotionBuffer&) {};
};

/// Renders the clips from `first` on. `reference_latents` [16, 1, h, w] lead the decoding of a clip without motion.
/// `buffer` is the state of the chain: a new one for clip 0, else what `finished` saw before clip `first`.
void chain_clips(const std::vector<Clip>& clips, int64_t first, const Tensor& reference_latents, MotionBuffer& buffer,
                 const ChainOptions& options, const ChainSteps& steps);

/// Frames of the video that `clips` give: three fewer than they hold where the first clip's are dropped and not held.
int64_t chained_frames(const std::vector<Clip>& clips, const ChainOptions& options);

/// The pose condition of a clip [16, frames / 4, h, w] from the frames [3, T, H, W] of a pose video, T >= 0; frames
/// past its end are black (-1). Source: WanS2V.load_pose_cond.
Tensor pose_latents(const Tensor& pose, const Clip& clip, const std::function<Tensor(const Tensor& pixels)>& encode);

}  // namespace wan
