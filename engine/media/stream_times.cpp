#include "engine/media/stream_times.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/media/input.h"
#include "engine/media/kept_track.h"

namespace wan {
namespace {

constexpr int kMostPackets = 1000;  // that are looked at for the first one with a time

}  // namespace

std::optional<double> sound_delay(const MediaFile& file) {
  const double origin = av::first_picture(file);
  try {
    av::Input input({file, "a video with sound"}, AVMEDIA_TYPE_AUDIO);
    const double unit = av_q2d(input.stream().time_base);
    const av::Packet packet = av::new_packet();
    for (int i = 0; i < kMostPackets && input.read(*packet); ++i) {
      if (packet->pts == AV_NOPTS_VALUE) continue;
      const double at = double(packet->pts) * unit - origin;
      if (at + double(packet->duration) * unit > 0) return std::max(0.0, at);
    }
  } catch (const InvalidRequest&) {
  }
  return std::nullopt;
}

}  // namespace wan
