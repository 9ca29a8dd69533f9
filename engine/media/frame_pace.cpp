#include "engine/media/frame_pace.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/media/input.h"

namespace wan {
namespace {

constexpr size_t kMost = 100'000;  // frames
constexpr size_t kFewest = 4;      // steps
constexpr double kNear = 0.25, kRegular = 0.8;

/// VP8 has pictures that are never shown, in packets of their own.
bool is_shown(const AVPacket& packet, AVCodecID codec) {
  if (packet.flags & AV_PKT_FLAG_DISCARD) return false;
  return codec != AV_CODEC_ID_VP8 || packet.size < 1 || (packet.data[0] & 0x10) != 0;
}

/// In ticks, from each frame to the next in order of display.
std::vector<int64_t> steps_of(av::Input& input) {
  std::vector<int64_t> times, steps;
  const av::Packet packet = av::new_packet();
  while (times.size() < kMost && input.read(*packet))
    if (packet->pts != AV_NOPTS_VALUE && is_shown(*packet, input.stream().codecpar->codec_id))
      times.push_back(packet->pts);
  std::sort(times.begin(), times.end());
  for (size_t i = 1; i < times.size(); ++i) {
    // Of hostile times a step may be longer than int64.
    const double step = double(times[i]) - double(times[i - 1]);
    if (step >= 1 && step < 1e15) steps.push_back(times[i] - times[i - 1]);
  }
  return steps;
}

/// The nearest whole number of frames a second, or 1000/1001 of one, where it is that within `doubt`, a part of it; else to
/// a thousandth.
Rational common(double rate, double doubt) {
  Rational best{std::llround(rate * 1000), 1000};
  double off = doubt;
  for (const int64_t denominator : {1000, 1001}) {
    const Rational near{std::llround(rate * double(denominator) / 1000) * 1000, denominator};
    if (std::abs(near.value() / rate - 1) > off) continue;
    best = near, off = std::abs(near.value() / rate - 1);
  }
  return best.reduced();
}

}  // namespace

std::optional<Rational> frame_pace(const MediaFile& file) {
  av::Input input({file, "a video"}, AVMEDIA_TYPE_VIDEO);
  const AVRational base = input.stream().time_base;
  if (!(input.is("mov") || input.is("matroska") || input.is("flv")) || base.num <= 0 || base.den <= 0) return {};
  std::vector<int64_t> steps = steps_of(input);
  if (steps.size() < kFewest) return {};
  std::nth_element(steps.begin(), steps.begin() + int64_t(steps.size() / 2), steps.end());
  const double median = double(steps[steps.size() / 2]);
  double sum = 0;
  size_t near = 0;
  for (const int64_t step : steps)
    if (std::abs(double(step) - median) <= kNear * median) sum += double(step), ++near;
  if (double(near) < kRegular * double(steps.size())) return {};
  const double rate = double(near) / (sum * av_q2d(base));
  // Beyond these no video is.
  if (!(rate >= 0.001 && rate <= 1'000'000)) return {};
  return common(rate, 2 / sum);  // both ends are rounded to the container's clock
}

}  // namespace wan
