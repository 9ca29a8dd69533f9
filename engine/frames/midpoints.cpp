#include "engine/frames/midpoints.h"

#include <algorithm>
#include <cstdlib>

#include "engine/base/rational.h"

namespace wan {
namespace {

/// How far the frame lies from the middle of its neighbours, in parts of their distance: exact, so that equal distances
/// are equal.
Rational from_middle(const DrawnFrame& frame) {
  return {std::abs(2 * frame.wanted - frame.left - frame.right), 2 * (frame.right - frame.left)};
}

}  // namespace

std::vector<DrawnFrame> by_midpoints(int64_t between) {
  std::vector<int64_t> there = {0, between + 1}, wanted;
  for (int64_t i = 1; i <= between; ++i) wanted.push_back(i);
  std::vector<DrawnFrame> order;
  while (!wanted.empty()) {
    std::vector<DrawnFrame> choices;
    for (size_t i = 0; i + 1 < there.size(); ++i)
      for (int64_t frame : wanted)
        if (there[i] < frame && frame < there[i + 1]) choices.push_back({frame, there[i], there[i + 1]});
    const DrawnFrame next = *std::min_element(
        choices.begin(), choices.end(), [](const auto& a, const auto& b) { return from_middle(a) < from_middle(b); });
    order.push_back(next);
    there.insert(std::upper_bound(there.begin(), there.end(), next.wanted), next.wanted);
    std::erase(wanted, next.wanted);
  }
  return order;
}

std::vector<DrawnFrame> directly(int64_t between) {
  std::vector<DrawnFrame> order;
  for (int64_t i = 1; i <= between; ++i) order.push_back({i, 0, between + 1});
  return order;
}

}  // namespace wan
