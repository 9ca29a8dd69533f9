#include "engine/media/missing.h"

#include <algorithm>

#include "engine/base/text.h"
#include "engine/media/file_end.h"
#include "engine/media/ogg_file.h"
#include "engine/media/wave_file.h"

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

std::string sentence(const char* kind, const std::string& read, const std::string& stated, const char* unit) {
  return std::string("the ") + kind + " ends early: " + read + " of the " + stated + " " + unit +
         " that it states could be read; the file is cut or damaged";
}

std::string missing_frames(int64_t frames, int64_t stated) {
  return frames < stated ? sentence("video", std::to_string(frames), std::to_string(stated), "frames") : "";
}

/// What the structure of the file says of its end, `kind` being "video" or "sound".
std::string text_of(FileEnd end, const char* kind) {
  const std::string text = std::string("the ") + kind;
  if (end == FileEnd::Cut) return text + " ends early: the last part of the file is cut short";
  if (end == FileEnd::Unmarked)
    return text + " may end early: the file has no mark of its end; it is cut, or its writer was stopped";
  return "";
}

/// What lacks of `stated` seconds, of which the input has been read to the end; `kind`: "video" or "sound".
std::string missing_seconds(Input& input, const char* kind, double stated) {
  const AVFormatContext& format = input.format();
  const double start = format.start_time == AV_NOPTS_VALUE ? 0 : double(format.start_time) / AV_TIME_BASE;
  // Some writers count the length from zero and not from the first packet.
  const double read = input.read_to() - std::min(start, 0.0);
  if (read >= stated - kSlack) return "";
  return sentence(kind, decimals(std::max(read - std::max(start, 0.0), 0.0)), decimals(stated), "s");
}

std::string missing_seconds(Input& input, const char* kind) {
  const AVFormatContext& format = input.format();
  if (format.duration <= 0 || format.duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return "";
  return missing_seconds(input, kind, double(format.duration) / AV_TIME_BASE);
}

/// libavformat takes no length from the header of a file that has other than its stated bytes.
std::string missing_of_asf(Input& input, const std::string& path, const char* kind) {
  const std::optional<AsfHead> head = asf_head(path);
  if (!head || head->bytes <= head->there) return "";
  const std::string missing = missing_seconds(input, kind, head->seconds);
  return missing.empty() ? text_of(FileEnd::Cut, kind) : missing;
}

std::string missing_pages(const std::string& path, const char* kind) {
  const std::string text = std::string("the ") + kind;
  switch (ogg_end(path)) {
    case OggEnd::Marked:
      return "";
    case OggEnd::Unmarked:
      return text +
             " may end early: the last page of the Ogg file is not marked as its end; the file is cut, or its "
             "writer was stopped";
    case OggEnd::Cut:
      return text + " ends early: the last page of the Ogg file is cut short";
  }
  return "";
}

std::string missing_part(Decoder& stream, const char* kind) {
  const std::string& path = stream.source().file.path;
  Input& input = stream.input();
  if (input.is("matroska")) return text_of(end_of_elements(path), kind);
  if (input.is("mpegts")) return text_of(end_of_packets(path), kind);
  if (input.is("asf")) return missing_of_asf(input, path, kind);
  return input.is("gif") ? text_of(end_of_gif(path), kind) : "";
}

/// What the container states of its length; "" where nothing.
std::string missing_in_container(Decoder& stream, const char* kind) {
  Input& input = stream.input();
  if (input.is("ogg")) return missing_pages(stream.source().file.path, kind);
  std::string missing;
  if (input.is("matroska") || input.is("flv") || input.is("asf")) missing = missing_seconds(input, kind);
  return missing.empty() ? missing_part(stream, kind) : missing;
}

/// 0: unknown.
double bytes_per_second(const AVCodecParameters& sound) {
  const int bits = av_get_bits_per_sample(sound.codec_id);
  if (bits > 0) return double(sound.sample_rate) * sound.ch_layout.nb_channels * bits / 8;
  return double(sound.bit_rate) / 8;
}

}  // namespace

std::string missing_end(Decoder& video, int64_t frames) {
  Input& input = video.input();
  if (input.is("mov")) {
    const Index index = index_of(video);
    const std::string missing = index.unread > 0 ? missing_frames(frames, index.frames) : "";
    return missing.empty() ? text_of(end_of_boxes(video.source().file.path), "video") : missing;
  }
  if (input.is("avi")) {  // times are frames, and the length is estimated where the file is cut
    const AVStream& stream = input.stream();
    const int64_t last = std::max<int64_t>(video.last_decoding_time(), -1);
    const double lacking = double(stream.nb_frames - last - 1) * av_q2d(stream.time_base);
    return lacking > kSlack ? missing_frames(frames, stream.nb_frames) : "";
  }
  return missing_in_container(video, "video");
}

std::string missing_end(Decoder& sound) {
  return missing_in_container(sound, "sound");
}

double stated_seconds(Decoder& sound) {
  Input& input = sound.input();
  const AVStream& stream = input.stream();
  const double unit = av_q2d(stream.time_base), rate = bytes_per_second(*stream.codecpar);
  if (input.is("wav") || input.is("w64")) {
    const std::optional<WaveData> data = wave_data(sound.source().file.path);
    if (!data) return 0;
    if (data->stated > data->there) return rate > 0 ? double(data->stated) / rate : 0;
  }
  if (input.is("caf") && stream.nb_frames > 0) return double(stream.nb_frames) * unit;
  // From the bit rate it would be a guess, and a wrong one where that varies.
  if (input.format().duration_estimation_method == AVFMT_DURATION_FROM_BITRATE || stream.duration <= 0) return 0;
  const double seconds = double(stream.duration) * unit;
  return input.is("aiff") && is_open_length(uint64_t(std::min(seconds * rate, 1e18))) ? 0 : seconds;
}

}  // namespace wan::av
