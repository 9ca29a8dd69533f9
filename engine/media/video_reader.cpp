#include "engine/media/video_reader.h"

#include <ATen/ATen.h>

extern "C" {
#include <libavutil/dovi_meta.h>
#include <libavutil/mastering_display_metadata.h>
}

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/base/error.h"
#include "engine/media/deinterlace.h"
#include "engine/media/frame_gaps.h"
#include "engine/media/input.h"
#include "engine/media/missing.h"
#include "engine/media/mp4_fragments.h"
#include "engine/media/orientation.h"
#include "engine/media/rgb.h"
#include "engine/media/transparency.h"

namespace wan {
namespace {

// Side data of a stream moved from the stream to its parameters in FFmpeg 6.1. Null where it is absent or too short.
const void* side_data(const AVStream& stream, AVPacketSideDataType type, size_t least) {
#if LIBAVCODEC_VERSION_MAJOR >= 61
  const AVPacketSideData* data =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, type);
  return data && data->size >= least ? data->data : nullptr;
#else
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, type, &size);
  return data && size >= least ? data : nullptr;
#endif
}

const int32_t* display_matrix(const AVStream& stream) {
  return static_cast<const int32_t*>(side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t)));
}

double stated_peak(const AVStream& stream) {
  return av::stated_peak(side_data(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, sizeof(AVContentLightMetadata)),
                         side_data(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, sizeof(AVMasteringDisplayMetadata)));
}

// Renamed in FFmpeg 6.0.
int64_t duration_of(const AVFrame& frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
  return frame.duration;
#else
  return frame.pkt_duration;
#endif
}

double pixel_aspect(AVFormatContext& format, AVStream& stream, AVFrame& frame) {
  AVRational aspect = av_guess_sample_aspect_ratio(&format, &stream, &frame);
  double value = aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1;
  return value >= 0.25 && value <= 4 ? value : 1;  // beyond that it is no camera's
}

}  // namespace

struct VideoReader::State {
  State(const MediaFile& file, const VideoReading& how);

  bool decode(AVFrame& frame);  // the next decodable frame, its pts made a non-decreasing count from the first one
  VideoFrame converted(Rational time, Rational until);  // `shown`
  void check_colours();                                 // of the first frame
  std::optional<VideoFrame> next();
  void tell(Notes& notes);
  void tell_transparency(Notes& notes);
  std::string damage() const;
  std::string lost_frames();
  Rational seconds(int64_t ticks) const { return {ticks * base.num, base.den}; }
  Rational end() const;

  std::string field;
  av::Decoder decoder;
  av::Deinterlacer pictures;
  AVRational base;
  av::RgbConverter to_rgb;
  VideoInfo info;
  std::optional<Rational> rate;
  int orientation = 1;
  int64_t coded_height = 0, coded_width = 0;  // square pixels, before turning
  int64_t origin = 0, last = 0, frame_ticks = 1, emitted = 0, decoded = 0;
  std::string missing;  // at the end of the file
  FrameGaps gaps;
  bool started = false, more = true, transparent = false;
  av::Frame shown = av::new_frame(), following = av::new_frame();
};

VideoReader::State::State(const MediaFile& file, const VideoReading& how)
    : field(file.field),
      decoder({file, "a video"}, AVMEDIA_TYPE_VIDEO, kMostVideoPixels),
      pictures(decoder, how.deinterlace),
      base(decoder.input().stream().time_base),
      to_rgb(av::RgbConverter::Kind::Video, stated_peak(decoder.input().stream())),
      rate(how.rate) {
  AVFormatContext& format = decoder.input().format();
  AVStream& stream = decoder.input().stream();
  if (base.num <= 0 || base.den <= 0) decoder.source().refuse("its clock is nonsense");
  AVRational average =
      stream.avg_frame_rate.num > 0 && stream.avg_frame_rate.den > 0 ? stream.avg_frame_rate : stream.r_frame_rate;
  if (average.num > 0 && average.den > 0) {
    info.rate = {average.num, average.den};
    frame_ticks = std::max<int64_t>(1, av_rescale_q(1, av_inv_q(average), base));
  }
  if (stream.duration > 0) {
    info.seconds = double(stream.duration) * av_q2d(base);
  } else if (format.duration > 0) {
    info.seconds = double(format.duration) / AV_TIME_BASE;
  }
  if (info.seconds > double(kMostVideoSeconds)) {
    decoder.source().refuse("it lasts " + std::to_string(int64_t(info.seconds)) + " s, at most " +
                            std::to_string(kMostVideoSeconds) + " are read");
  }
  info.frames = stream.nb_frames > 0 ? stream.nb_frames : std::llround(info.seconds * info.rate.value());
  info.has_audio = decoder.input().has(AVMEDIA_TYPE_AUDIO);
  orientation = matrix_orientation(display_matrix(stream));

  if (!decode(*following)) decoder.source().refuse("it has no frame that can be decoded");
  check_colours();
  coded_height = following->height;
  coded_width = std::max<int64_t>(1, std::llround(following->width * pixel_aspect(format, stream, *following)));
  bool turned = orientation >= 5;
  info.height = turned ? coded_width : coded_height;
  info.width = turned ? coded_height : coded_width;
}

void VideoReader::State::check_colours() {
  const auto* dolby = static_cast<const AVDOVIDecoderConfigurationRecord*>(
      side_data(decoder.input().stream(), AV_PKT_DATA_DOVI_CONF, sizeof(AVDOVIDecoderConfigurationRecord)));
  if (dolby && dolby->bl_present_flag && dolby->dv_bl_signal_compatibility_id == 0) {
    decoder.source().refuse("its colours are those of Dolby Vision profile " + std::to_string(dolby->dv_profile) +
                            ", which only its own decoder shows; export it as SDR or HDR10");
  }
  try {
    to_rgb.check(*following);
  } catch (const av::UnreadableColours& unreadable) {
    decoder.source().refuse(unreadable.what());
  }
}

bool VideoReader::State::decode(AVFrame& frame) {
  if (!pictures.next(frame)) {
    missing = av::missing_end(decoder, decoded);
    return false;
  }
  ++decoded;
  int64_t at = frame.best_effort_timestamp;
  if (!started) {
    origin = at == AV_NOPTS_VALUE ? 0 : at;
    last = -frame_ticks;
    started = true;
  }
  // Streams without timestamps, or with some that run back, go on at the average rate.
  int64_t ticks = at == AV_NOPTS_VALUE ? last + frame_ticks : at - origin;
  if (ticks < last) ticks = last;
  if (double(ticks) * av_q2d(base) > double(kMostVideoSeconds)) {
    decoder.source().refuse("it lasts more than " + std::to_string(kMostVideoSeconds) + " s");
  }
  frame.pts = last = std::max<int64_t>(ticks, 0);
  if (at != AV_NOPTS_VALUE) gaps.add(last, duration_of(frame));
  return true;
}

VideoFrame VideoReader::State::converted(Rational time, Rational until) {
  transparent = transparent || av::has_transparency(*shown);
  try {
    return {upright(to_rgb(*shown, coded_height, coded_width), orientation), time, until};
  } catch (const av::UnreadableColours& unreadable) {
    decoder.source().refuse(unreadable.what());
  }
}

Rational VideoReader::State::end() const {
  int64_t stated = decoder.end() == AV_NOPTS_VALUE ? 0 : decoder.end() - origin;
  return seconds(stated > last ? stated : last + frame_ticks);
}

std::optional<VideoFrame> VideoReader::State::next() {
  if (!rate) {
    if (!more) return std::nullopt;
    std::swap(shown, following);
    more = decode(*following);
    return converted(seconds(shown->pts), more ? seconds(following->pts) : end());
  }
  Rational time{emitted * rate->denominator, rate->numerator};
  // `following` is the first frame after `time`; `shown` the one before it.
  while (more && seconds(following->pts) <= time) {
    std::swap(shown, following);
    more = decode(*following);
  }
  if (!more && end() <= time) return std::nullopt;
  ++emitted;
  return converted(time, {emitted * rate->denominator, rate->numerator});
}

std::string VideoReader::State::damage() const {
  const int64_t packets = decoder.damaged_packets(), patched = decoder.patched_pictures();
  std::string text;
  if (packets > 0)
    text = std::to_string(packets) + (packets == 1 ? " packet" : " packets") + " could not be decoded whole";
  if (patched > 0) {
    text += std::string(text.empty() ? "" : ", ") + std::to_string(patched) +
            (patched == 1 ? " frame is" : " frames are") + " patched where data is lost";
  }
  return text;
}

std::string VideoReader::State::lost_frames() {
  av::Input& input = decoder.input();
  // Pictures of a GIF last as long as it says, and an MP4 lists its frames: what it leaves out was never there, but in
  // a part that has its list with it.
  if (input.is("gif")) return "";
  if (!input.is("mov")) return gaps.text(av_q2d(base));
  FrameGaps listed;
  add_fragments(decoder.source().file.path, uint32_t(input.stream().id), listed);
  return listed.text(av_q2d(base));
}

void VideoReader::State::tell_transparency(Notes& notes) {
  const std::string change = "lay the video over a background first";
  if (transparent) {
    const bool gif = decoder.input().is("gif");
    notes.add({field,
               std::string("the video has transparent parts; transparency is dropped, and ") +
                   (gif ? "they become white" : "the colours stored under it show"),
               change});
  }
  // FFmpeg's decoders for VP8 and VP9 leave out the second stream that holds it.
  const AVDictionaryEntry* mode = av_dict_get(decoder.input().stream().metadata, "alpha_mode", nullptr, 0);
  if (mode && std::string_view(mode->value) == "1")
    notes.add(
        {field, "the video states that it has transparency; it is dropped, and the colours under it show", change});
}

void VideoReader::State::tell(Notes& notes) {
  note_tracks(decoder.input().tracks(), {field.c_str(), "file", "video", "used"}, notes);
  tell_transparency(notes);
  for (const auto& [text, change] : to_rgb.told()) notes.add({field, text, change});
  if (pictures.used()) {
    notes.add({field, "the video is interlaced: whole frames are made of its fields (bwdif)",
               "--no-deinterlace leaves them as they are"});
  }
  if (pictures.saw_fields()) {
    notes.add({field, "the video has each of its fields as a picture of its own: they are read as they are",
               "a progressive version of the video is read whole"});
  }
  constexpr const char* kWay = "download or export it again";
  if (const std::string text = damage(); !text.empty()) notes.add({field, "the video is damaged: " + text, kWay});
  if (const std::string text = lost_frames(); !text.empty()) notes.add({field, text, kWay});
  if (!missing.empty()) notes.add({field, missing, kWay});
}

VideoReader::VideoReader(const MediaFile& file, const VideoReading& how) : state_(std::make_unique<State>(file, how)) {}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;

const VideoInfo& VideoReader::info() const {
  return state_->info;
}
std::optional<VideoFrame> VideoReader::next() {
  return state_->next();
}
void VideoReader::tell(Notes& notes) const {
  state_->tell(notes);
}

}  // namespace wan
