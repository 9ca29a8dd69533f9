// What a safety checker says of pictures and of whole clips.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/frames/stream.h"
#include "engine/residency/safety_network.h"

namespace wan {

/// Of all pictures that were looked at: the largest score counts.
struct SafetyVerdict {
  bool flagged = false;
  double score = 0;        // the largest (safety::Finding); meaningless where nothing was looked at
  double threshold = 0;    // above which a picture is flagged
  std::string found = {};  // in the picture with that score: "nsfw", "concepts 3, 7"; empty where it is not flagged
  int64_t worst = 0;       // which picture that was
  int64_t pictures = 0;    // how many were looked at
};

/// Looks at pictures one after the other.
class SafetyCheck {
 public:
  /// `network` must outlive it. `threshold`: the checker's own where none is given.
  explicit SafetyCheck(const SafetyNetwork& network, std::optional<double> threshold = {});

  /// uint8 [H, W, 3] on the CPU, at least 1 x 1; `number` is what verdict() calls it. Throws NotFinite where the network
  /// gives NaN or Inf, and std::invalid_argument for other shapes.
  void look(const at::Tensor& rgb, int64_t number);
  const SafetyVerdict& verdict() const { return verdict_; }

 private:
  const SafetyNetwork& network_;
  SafetyVerdict verdict_;
};

/// How many frames of a clip are looked at where nothing else is asked for: of a clip of 81 frames every twelfth.
inline constexpr int64_t kSafetyFrames = 8;
/// How far apart they are at most in long clips, and in what goes on behind a clip's stated end.
inline constexpr int64_t kSafetyApart = 12;

/// The numbers of `count` frames spread evenly over a clip of `frames`, the first and the last among them, in their order;
/// all of a clip that has no more. Of one frame the middle one.
std::vector<int64_t> spread_frames(int64_t frames, int64_t count);

/// Looks at frames that are spread over a clip while it passes by; passes all frames on as they are. The verdict stands
/// when the stream has ended: what depends on it (a refusal, a blur of the whole clip) comes after.
class SafetyStep : public FrameStep {
 public:
  /// `check` must outlive it. `frames`: the length of the stream; where it ends earlier or later, its last frame is
  /// looked at besides, and every kSafetyApart-th behind `frames`: a stranger's file may state another length.
  SafetyStep(SafetyCheck& check, int64_t frames, int64_t count = kSafetyFrames);

  void take(const Frames& frames, const FrameSink& next) override;
  void end(const FrameSink& next) override;

 private:
  SafetyCheck& check_;
  const int64_t frames_;
  const std::vector<int64_t> wanted_;
  size_t next_ = 0;   // of wanted_
  at::Tensor last_;   // uint8 [H, W, 3]: the last frame that came; undefined where it was looked at
  int64_t seen_ = 0;  // frames that came
};

}  // namespace wan
