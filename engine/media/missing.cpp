#include "engine/media/missing.h"

#include <algorithm>

#include "engine/base/text.h"

namespace wan::av {
namespace {

// The last packet's duration is not always known, nor rounded as the length in the header is.
constexpr double kSlack = 0.25;  // seconds

/// Frames that the index of an MP4 or MOV lists after the last packet that could be read.
int64_t unread_entries(Decoder& video) {
  AVStream& stream = video.input().stream();
  int64_t unread = 0;
  for (int i = avformat_index_get_entries_count(&stream); i-- > 0; ++unread) {
    const AVIndexEntry* entry = avformat_index_get_entry(&stream, i);
    if (!entry || entry->timestamp <= video.last_decoding_time()) break;
  }
  return unread;
}

}  // namespace

std::string missing_end(Decoder& video, int64_t frames) {
  Input& input = video.input();
  const std::string begin = "the video ends early: ", end = " could be read; the file is cut or damaged";
  if (input.is("mov")) {
    const int64_t unread = unread_entries(video);
    if (unread == 0) return "";
    return begin + std::to_string(frames) + " of the " + std::to_string(frames + unread) + " frames that it states" +
           end;
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
