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

}  // namespace

std::string missing_end(Decoder& video, int64_t frames) {
  Input& input = video.input();
  const std::string begin = "the video ends early: ", end = " could be read; the file is cut or damaged";
  if (input.is("mov")) {
    const Index index = index_of(video);
    if (index.unread == 0 || frames >= index.frames) return "";
    return begin + std::to_string(frames) + " of the " + std::to_string(index.frames) + " frames that it states" + end;
  }
  const AVFormatContext& format = input.format();
  const bool known = input.is("matroska") || input.is("avi") || input.is("flv") || input.is("asf");
  const bool states = known && format.duration > 0 && format.duration_estimation_method != AVFMT_DURATION_FROM_BITRATE;
  if (!states) return "";
  const double start = format.start_time == AV_NOPTS_VALUE ? 0 : double(format.start_time) / AV_TIME_BASE;
  // Some writers count the length from zero and not from the first packet.
  const double stated = double(format.duration) / AV_TIME_BASE, read = input.read_to() - std::min(start, 0.0);
  if (read >= stated - kSlack) return "";
  return begin + decimals(std::max(read - std::max(start, 0.0), 0.0)) + " of the " + decimals(stated) +
         " s that it states" + end;
}

}  // namespace wan::av
