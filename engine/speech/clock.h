// The arithmetic of time in speech to video: which audio feature a video frame shows, and which clips make a video.
// Plain numbers, no tensors. Source: get_audio_embed_bucket_fps (wan/modules/s2v/audio_encoder.py), speech2video.py.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace wan {

/// A clip: `frames` video frames from frame `start` on, denoised together.
struct Clip {
  int64_t start, frames;
  bool operator==(const Clip&) const = default;
};

/// Feature frames at 30 a second for `frames_50` encoder frames at 50 a second.
int64_t feature_frames_30(int64_t frames_50);

/// For each of `frames` video frames at `fps` the index of its feature among `frames_30`; -1 past the end, which stands
/// for the zero vector. Depends on the total number of frames, as numpy's linspace does; any fps.
std::vector<int64_t> feature_index(int64_t frames_30, int64_t fps, int64_t frames);

/// The reference's clips, each of `clip_frames`: as many as hold the features, and one more where they fill the last
/// one exactly; `limit` can only lower their number.
std::vector<Clip> reference_clips(int64_t frames_30, int64_t fps, int64_t clip_frames,
                                  std::optional<int64_t> limit = {});

/// Video frames that last at least `samples` at `rate`: the smallest n with n / fps >= samples / rate.
/// Throws std::invalid_argument where a number is not positive or the product overflows.
int64_t frames_for(int64_t samples, int64_t rate, int64_t fps);

/// The shortest clip that the model makes well, and the longest that its time axis holds (the reference image sits at
/// 30).
inline constexpr int64_t kShortestClip = 40, kLongestClip = 120;

/// Clips that hold `frames` video frames with little waste: all of `clip_frames`, the rest in the last one; where that
/// would be shorter than kShortestClip, the last two share their frames. Lengths are multiples of four. They hold more
/// than `frames` by the rounding to four, or where no split keeps kShortestClip. `clip_frames` is a multiple of four
/// from kShortestClip to kLongestClip; std::invalid_argument otherwise.
std::vector<Clip> shared_clips(int64_t frames, int64_t clip_frames);

/// A stretch of a long file that the audio encoder sees at once, in its frames at 50 a second: it reads [first, last)
/// and answers for [core_first, core_last).
struct AudioWindow {
  int64_t first, last, core_first, core_last;
};

/// Up to this many frames (120 s) the encoder sees the whole file, as the reference does.
inline constexpr int64_t kWholeFileFrames = 6000;
/// Frames on each side of a core that are encoded and thrown away (10 s).
inline constexpr int64_t kWindowContext = 500;

/// The window of a file of `frames_50` encoder frames whose core holds frame `frame`. A short file is one window; else
/// cores of 100 s follow each other, each in a window of 120 s.
AudioWindow audio_window(int64_t frames_50, int64_t frame);

}  // namespace wan
