#include "engine/media/frame_gaps.h"

#include <algorithm>
#include <cmath>

#include "engine/base/text.h"

namespace wan {
namespace {

constexpr size_t kMost = 100'000;
constexpr size_t kShown = 3;      // places
constexpr double kRegular = 0.8;  // the share of gaps that are one step
constexpr double kOnGrid = 0.25;  // of a step, how far a gap may be from a whole number of steps

}  // namespace

void FrameGaps::add(int64_t time, int64_t duration) {
  if (started_ && time > last_ && gaps_.size() < kMost) {
    const int64_t length = time - last_;
    gaps_.push_back({last_, length, 4 * last_duration_ > 3 * length});
  }
  started_ = true;
  last_ = time;
  last_duration_ = duration;
}

double FrameGaps::step() const {
  if (gaps_.size() < 4) return 0;
  std::vector<int64_t> lengths;
  for (const Gap& gap : gaps_) lengths.push_back(gap.length);
  std::nth_element(lengths.begin(), lengths.begin() + int64_t(lengths.size() / 2), lengths.end());
  const double median = double(lengths[lengths.size() / 2]);
  // Clocks of milliseconds round: 41, 42, 42.
  double sum = 0;
  size_t near = 0;
  for (int64_t length : lengths)
    if (std::abs(double(length) - median) <= kOnGrid * median) sum += double(length), ++near;
  return double(near) >= kRegular * double(lengths.size()) ? sum / double(near) : 0;
}

std::string FrameGaps::text(double unit) const {
  const double step = this->step();
  if (step == 0) return "";
  int64_t missing = 0;
  size_t places = 0;
  std::string where;
  for (const Gap& gap : gaps_) {
    const double steps = double(gap.length) / step, whole = std::round(steps);
    if (whole < 2 || gap.stated || std::abs(steps - whole) > kOnGrid) continue;
    missing += int64_t(whole) - 1;
    if (++places <= kShown) where += (where.empty() ? "" : ", ") + decimals((double(gap.at) + step) * unit) + " s";
  }
  if (missing == 0) return "";
  if (places > kShown) where += " and at " + std::to_string(places - kShown) + " more places";
  const double all = double(gaps_.size()) + 1 + double(missing);
  return std::to_string(missing) + " of " + std::to_string(int64_t(all)) +
         (missing == 1 ? " frames is missing, at " : " frames are missing, at ") + where +
         ": there are gaps between the times of the others; the file is damaged, or was recorded with gaps";
}

}  // namespace wan
