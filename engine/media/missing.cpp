#include "engine/media/missing.h"

#include <algorithm>

#include "engine/base/text.h"

namespace wan::av {
namespace {

// The last packet's duration is not always known, nor rounded as the length in the header is.
constexpr double kSlack = 0.25;  // seconds

/// What the index of an MP4 or MOV lists.
struct Index {
  int64_t frames = 0;  // to be shown: edit lists hide others
  int64_t unread = 0;  // after the last packet that could be read
};

Index index_of(Decoder& video) {
  AVStream& stream = video.input().stream();
  Index index;
  for (int i = 0; i < avformat_index_get_entries_count(&stream); ++i) {
    const AVIndexEntry* entry = avformat_index_get_entry(&stream, i);
    if (!entry) continue;
    index.frames += !(entry->flags & AVINDEX_DISCARD_FRAME);
    index.unread += entry->timestamp > video.last_decoding_time();
  }
  return index;
}

std::string sentence(const std::string& read, const std::string& stated, const char* unit) {
  return "the video ends early: " + read + " of the " + stated + " " + unit +
         " that it states could be read; the file is cut or damaged";
}

std::string missing_frames(int64_t frames, int64_t stated) {
  return frames < stated ? sentence(std::to_string(frames), std::to_string(stated), "frames") : "";
}

std::string missing_seconds(Input& input) {
  const AVFormatContext& format = input.format();
  if (format.duration <= 0 || format.duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return "";
  const double start = format.start_time == AV_NOPTS_VALUE ? 0 : double(format.start_time) / AV_TIME_BASE;
  // Some writers count the length from zero and not from the first packet.
  const double stated = double(format.duration) / AV_TIME_BASE, read = input.read_to() - std::min(start, 0.0);
  if (read >= stated - kSlack) return "";
  return sentence(decimals(std::max(read - std::max(start, 0.0), 0.0)), decimals(stated), "s");
}

}  // namespace

std::string missing_end(Decoder& video, int64_t frames) {
  Input& input = video.input();
  if (input.is("mov")) {
    const Index index = index_of(video);
    return index.unread > 0 ? missing_frames(frames, index.frames) : "";
  }
  if (input.is("avi")) {  // times are frames, and the length is estimated where the file is cut
    const AVStream& stream = input.stream();
    const int64_t last = std::max<int64_t>(video.last_decoding_time(), -1);
    const double lacking = double(stream.nb_frames - last - 1) * av_q2d(stream.time_base);
    return lacking > kSlack ? missing_frames(frames, stream.nb_frames) : "";
  }
  return input.is("matroska") || input.is("flv") || input.is("asf") ? missing_seconds(input) : "";
}

}  // namespace wan::av
