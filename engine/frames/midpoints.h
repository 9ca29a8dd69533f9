// In which order several frames between two are drawn, and from which neighbours.
#pragma once

#include <cstdint>
#include <vector>

namespace wan {

/// One frame to draw. Numbers count from the first of the two given frames, which is 0, to the second, which is
/// `between` + 1; all stand at equal distances in time.
struct DrawnFrame {
  int64_t wanted, left, right;

  /// Of the wanted frame in the time from left (0) to right (1).
  double time() const { return double(wanted - left) / double(right - left); }
  bool operator==(const DrawnFrame&) const = default;
};

/// By recursive midpoints: of the frames that are still wanted the one that lies nearest the middle of two neighbours
/// that are there, again and again; equal distances: the earlier neighbours, and of those the earlier frame. FILM is
/// trained for the middle alone. Source: inference.py of dajes/frame-interpolation-pytorch.
std::vector<DrawnFrame> by_midpoints(int64_t between);

/// Each from the two given frames, in their order.
std::vector<DrawnFrame> directly(int64_t between);

}  // namespace wan
