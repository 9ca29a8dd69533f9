// What the stages of RIFE have found of the way from two frames to the picture between them, and pictures warped by it.
// On the CPU in float32 and float64 a stage's input is made row by row, at the few pixels that it sees: a block at 1/8
// of the size sees each frame at four of 64 pixels. Elsewhere, and as what that is tested against, on whole pictures by
// ATen's operations.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "models/rife/layers.h"
#include "models/rife/version.h"

namespace wan::rife {

/// A frame as the network takes it, padded with zeros on the right and below, with what is computed once for each
/// frame.
struct Frame {
  Tensor rgb;             // [1, 3, H', W'] in [0, 1], padded
  Tensor features;        // [1, F, H', W'], where the version has an encoder
  int64_t height, width;  // without the padding
  /// What the two above are views of: [H', W', 4n], rgb, features, zeros.
  Tensor packed;
};

/// What a stage found, at 1/factor of the size of the frames: [H' / factor, W' / factor, C], flow in its own pixels [4]
/// (x, y into the first frame, x, y into the second one), mask [1], carried channels. Values between are bilinear, and
/// flow counts `factor` times.
struct Increment {
  Tensor values;
  int64_t factor;
};

/// All stages so far.
struct Motion {
  const Architecture* architecture;
  int64_t height, width;  // of the padded frames
  std::vector<Increment> stages;
};

/// The flow, its sum over all stages: [1, 4, H', W'] in pixels.
Tensor flow_of(const Motion& motion);
/// The mask before the sigmoid: [1, 1, H', W'].
Tensor mask_of(const Motion& motion);
/// How far the last stage moved a pixel of frame 0 or 1 at most, along x or y.
double largest_change(const Motion& motion, int64_t frame);
/// The channels that the last stage hands on, [1, C, H', W'].
Tensor carried_of(const Motion& motion);
/// The pictures warped by the flow, [1, 3, H', W'] each.
std::pair<Tensor, Tensor> warped_of(const Frame& first, const Frame& second, const Motion& motion);

/// Two frames and a time between them.
struct Pair {
  const Frame& first;
  const Frame& second;
  double time;
};

/// The input of the next stage [1, H' / scale, W' / scale, C]: the frames, warped where there is motion, their
/// features, the time, mask, carried channels and flow, all made smaller by `scale`, a power of two.
namespace whole {
Tensor input(const Pair& pair, const Motion& motion, int64_t scale);
/// The picture [1, 3, height, width]: the warped frames, mixed by the mask.
Tensor merged(const Pair& pair, const Motion& motion);
}  // namespace whole

/// The same on the CPU in float32 and float64, without pictures of the whole size.
namespace rows {
Rows input(const Pair& pair, const Motion& motion, int64_t scale);
Tensor merged(const Pair& pair, const Motion& motion);
}  // namespace rows

}  // namespace wan::rife
