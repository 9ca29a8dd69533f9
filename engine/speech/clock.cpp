#include "engine/speech/clock.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace wan {
namespace {

constexpr int64_t kCore = kWholeFileFrames - 2 * kWindowContext;

int64_t round_up_to_four(int64_t n) {
  return (n + 3) / 4 * 4;
}

}  // namespace

int64_t feature_frames_30(int64_t frames_50) {
  // Not floor(3 T / 5): in double the product falls below the integer for T = 205, 410, 820, ...
  return int64_t(double(frames_50) / 50 * 30);
}

std::vector<int64_t> feature_index(int64_t frames_30, int64_t fps, int64_t frames) {
  // linspace(0, frames / fps, frames, endpoint=False), whose step is not always 1 / fps in double; then half to even.
  const double step = double(frames) / double(fps) / double(frames);
  std::vector<int64_t> index(frames);
  for (int64_t i = 0; i < frames; ++i) {
    auto nearest = int64_t(std::nearbyint(double(i) * step * 30));
    index[i] = nearest < frames_30 ? nearest : -1;
  }
  return index;
}

std::vector<Clip> reference_clips(int64_t frames_30, int64_t fps, int64_t clip_frames, std::optional<int64_t> limit) {
  int64_t count = int64_t(double(frames_30) / (double(clip_frames * 30) / double(fps))) + 1;
  if (limit) count = std::min(count, *limit);
  std::vector<Clip> clips;
  for (int64_t r = 0; r < count; ++r) clips.push_back({r * clip_frames, clip_frames});
  return clips;
}

int64_t frames_for(int64_t samples, int64_t rate, int64_t fps) {
  int64_t product;
  if (samples <= 0 || rate <= 0 || fps <= 0 || __builtin_mul_overflow(samples, fps, &product))
    throw std::invalid_argument("[audio] must last a countable time, got " + std::to_string(samples) + " samples at " +
                                std::to_string(rate) + " Hz for " + std::to_string(fps) + " frames a second");
  return product / rate + (product % rate != 0);
}

std::vector<Clip> shared_clips(int64_t frames, int64_t clip_frames) {
  if (frames <= 0 || clip_frames % 4 != 0 || clip_frames < kShortestClip || clip_frames > kLongestClip)
    throw std::invalid_argument("[num_frames] a clip must have a multiple of four from 40 to 120 frames, got " +
                                std::to_string(clip_frames));
  const int64_t total = round_up_to_four(frames);
  std::vector<int64_t> lengths(total / clip_frames, clip_frames);
  const int64_t rest = total % clip_frames;
  if (rest >= kShortestClip || (rest > 0 && lengths.empty())) {
    lengths.push_back(std::max(rest, kShortestClip));
  } else if (rest > 0) {
    const int64_t both = clip_frames + rest;
    lengths.back() = std::max(round_up_to_four((both + 1) / 2), kShortestClip);
    lengths.push_back(std::max(both - lengths.back(), kShortestClip));
  }
  std::vector<Clip> clips;
  int64_t start = 0;
  for (int64_t length : lengths) {
    clips.push_back({start, length});
    start += length;
  }
  return clips;
}

AudioWindow audio_window(int64_t frames_50, int64_t frame) {
  if (frames_50 <= kWholeFileFrames) return {0, frames_50, 0, frames_50};
  const int64_t core = frame / kCore * kCore;
  // Windows at the ends of the file are as long as the others: more context costs no more memory.
  const int64_t first = std::clamp<int64_t>(core - kWindowContext, 0, frames_50 - kWholeFileFrames);
  return {first, first + kWholeFileFrames, core, std::min(core + kCore, frames_50)};
}

}  // namespace wan
