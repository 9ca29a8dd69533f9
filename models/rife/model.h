// RIFE: the picture at a time between two frames. Source: IFNet_HDv3.py and RIFE_HDv3.py of Practical-RIFE; the
// refinement of 4.0 (contextnet, unet) is left out, as its authors' inference does.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "models/rife/block.h"
#include "models/rife/motion.h"
#include "models/rife/version.h"
#include "models/weights/scope.h"

namespace wan::rife {

struct Options {
  at::ScalarType dtype = at::kFloat;  // of frames, weights and arithmetic; half and bfloat16 on a device only
  /// Divides the sizes at which flows are looked for: 0.5 or 0.25 for large pictures (4K), with less work and memory in
  /// proportion to its square.
  double scale = 1;
  /// Whether pictures are warped row by row, where the device is the CPU.
  bool by_rows = true;
};

/// What an Observer gets as the stage where 4.0 has run its stage 0 a second time; stage 1 follows.
inline constexpr size_t kRestart = SIZE_MAX;
/// Sees the motion after each stage. Costs nothing where it is empty.
using Observer = std::function<void(size_t stage, const Motion& motion)>;

class Model {
 public:
  /// Takes the network's tensors, with or without "module." before their names, and counts as used what only training
  /// needs; the caller ends with `weights.finish()`. Throws ModelError for what architecture_of refuses, and c10::Error
  /// for options out of range.
  explicit Model(Weights& weights, const Options& options = {});
  /// The same with a known architecture; `root` is the network's.
  Model(const Scope& root, Architecture architecture, const Options& options = {});

  Version version() const { return architecture_.version; }
  const Architecture& architecture() const { return architecture_; }
  /// Frames are padded to multiples of it: max(128, 128 / scale), as inference_video.py of Practical-RIFE does.
  int64_t alignment() const;

  /// rgb [1, 3, H, W] in [0, 1], on the model's device and of its dtype, H and W at least 2. Throws c10::Error for
  /// others.
  Frame frame(const Tensor& rgb) const;
  /// The picture at `time`, in (0, 1), between two frames of one size: [1, 3, H, W] in [0, 1]. NaN stays NaN, and who
  /// uses the picture must look for it. Throws c10::Error for other times and frames.
  Tensor between(const Frame& first, const Frame& second, double time, const Observer& observe = {}) const;

 private:
  int64_t scale(size_t block) const;
  Increment stage(size_t block, const Pair& pair, const Motion& motion, int64_t scale) const;
  bool by_rows() const;

  Architecture architecture_;
  Options options_;
  std::optional<Encoder> encode_;
  std::vector<Block> blocks_;
};

}  // namespace wan::rife
