// Whether frames are drawn between two: not where the picture stands still, and not across a cut.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>

namespace wan {

/// A frame in 32 x 32 pixels, by which cuts are found.
struct SmallFrame {
  static constexpr int kSide = 32;
  std::array<float, 3 * kSide * kSide> values;  // RGB in [0, 1], channel by channel, row by row
};

/// `rgb`: uint8 [H, W, 3] on the CPU, contiguous. Bilinear, each value from four pixels (align_corners = false).
SmallFrame small_frame(const at::Tensor& rgb);

/// The structural similarity of two: 1 where they are equal. Means are those of a Gaussian of 11 x 11 with sigma 1.5 that
/// goes over the three channels, too; the edge is repeated. In double precision and one thread: the same on every machine.
/// Source: ssim_matlab, model/pytorch_msssim of Practical-RIFE.
double similarity(const SmallFrame& a, const SmallFrame& b);

enum class Pair {
  Moving,  // frames are drawn between them
  Still,   // no value of the whole frames differs by more than kStillLevels
  Cut,     // two scenes: small frames are less similar than kCutSimilarity
};

/// A step of one luma or chroma value changes R, G and B by as much. Small frames do not tell what stands: a small thing
/// that moves is between their pixels.
constexpr int kStillLevels = 2;
/// Source: inference_video.py of Practical-RIFE, which repeats no frame above its other threshold, 0.996: it draws that
/// one anew, between the one before and the one after.
constexpr double kCutSimilarity = 0.2;
/// Of frames as small_frame takes them, of one size.
Pair pair_of(const at::Tensor& first, const at::Tensor& second);

}  // namespace wan
