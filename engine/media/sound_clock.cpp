#include "engine/media/sound_clock.h"

#include <cmath>
#include <string_view>

namespace wan::av {
namespace {

constexpr double kWaver = 0.04, kLongestHole = 3600, kLongestOverlap = 1;  // seconds

bool has_stamps(const AVFormatContext& format) {
  const std::string_view names = format.iformat->name;
  for (std::string_view kind : {"mov", "matroska", "asf", "flv", "mpegts", "mpeg", "ogg", "nut", "mxf"})
    if (names.substr(0, names.find(',')) == kind) return true;
  return false;
}

}  // namespace

SoundClock::SoundClock(const AVFormatContext& format, AVRational base, int64_t rate)
    : base_(base), rate_(rate), stamped_(has_stamps(format)), anchor_(AV_NOPTS_VALUE) {}

int64_t SoundClock::gap(int64_t stamp) {
  if (!stamped_ || stamp == AV_NOPTS_VALUE) return 0;
  const double there = double(given_ - anchor_given_) / double(rate_);
  const double gap = anchor_ == AV_NOPTS_VALUE ? INFINITY : (double(stamp) - double(anchor_)) * av_q2d(base_) - there;
  if (gap > kLongestHole || gap < -kLongestOverlap) {
    anchor_ = stamp;
    anchor_given_ = given_;
    overlaps_ = false;
    return 0;
  }
  // An overlap ends within a frame, and not where the rest is below what no one hears.
  const bool heard = std::abs(gap) > kWaver || (overlaps_ && gap < 0);
  overlaps_ = heard && gap < 0;
  return heard ? std::llround(gap * double(rate_)) : 0;
}

}  // namespace wan::av
