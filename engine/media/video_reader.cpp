#include "engine/media/video_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/media/input.h"
#include "engine/media/orientation.h"
#include "engine/media/rgb.h"

namespace wan {
namespace {

// Side data of a stream moved from the stream to its parameters in FFmpeg 6.1.
const int32_t* display_matrix(const AVStream& stream) {
#if LIBAVCODEC_VERSION_MAJOR >= 61
  const AVPacketSideData* data = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data && data->size >= 9 * sizeof(int32_t) ? reinterpret_cast<const int32_t*>(data->data) : nullptr;
#else
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return data && size >= 9 * sizeof(int32_t) ? reinterpret_cast<const int32_t*>(data) : nullptr;
#endif
}

double pixel_aspect(AVFormatContext& format, AVStream& stream, AVFrame& frame) {
  AVRational aspect = av_guess_sample_aspect_ratio(&format, &stream, &frame);
  double value = aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1;
  return value >= 0.25 && value <= 4 ? value : 1;  // beyond that it is no camera's
}

}  // namespace

struct VideoReader::State {
  State(const MediaFile& file, std::optional<Rational> rate);

  bool decode(AVFrame& frame);  // the next decodable frame, its pts made a non-decreasing count from the first one
  VideoFrame converted(Rational time);  // `shown`
  std::optional<VideoFrame> next();
  Rational seconds(int64_t ticks) const { return {ticks * base.num, base.den}; }
  Rational end() const;

  av::Decoder decoder;
  AVRational base;
  av::RgbConverter to_rgb{av::RgbConverter::Kind::Video};
  VideoInfo info;
  std::optional<Rational> rate;
  int orientation = 1;
  int64_t coded_height = 0, coded_width = 0;  // square pixels, before turning
  int64_t origin = 0, last = 0, frame_ticks = 1, emitted = 0;
  bool started = false, more = true;
  av::Frame shown = av::new_frame(), following = av::new_frame();
};

VideoReader::State::State(const MediaFile& file, std::optional<Rational> rate)
    : decoder({file, "a video"}, AVMEDIA_TYPE_VIDEO, kMostVideoPixels),
      base(decoder.input().stream().time_base),
      rate(rate) {
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
  coded_height = following->height;
  coded_width = std::max<int64_t>(1, std::llround(following->width * pixel_aspect(format, stream, *following)));
  bool turned = orientation >= 5;
  info.height = turned ? coded_width : coded_height;
  info.width = turned ? coded_height : coded_width;
}

bool VideoReader::State::decode(AVFrame& frame) {
  if (!decoder.next(frame)) return false;
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
  return true;
}

VideoFrame VideoReader::State::converted(Rational time) {
  return {upright(to_rgb(*shown, coded_height, coded_width), orientation), time};
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
    return converted(seconds(shown->pts));
  }
  Rational time{emitted * rate->denominator, rate->numerator};
  // `following` is the first frame after `time`; `shown` the one before it.
  while (more && seconds(following->pts) <= time) {
    std::swap(shown, following);
    more = decode(*following);
  }
  if (!more && end() <= time) return std::nullopt;
  ++emitted;
  return converted(time);
}

VideoReader::VideoReader(const MediaFile& file, std::optional<Rational> rate)
    : state_(std::make_unique<State>(file, rate)) {}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;

const VideoInfo& VideoReader::info() const {
  return state_->info;
}
std::optional<VideoFrame> VideoReader::next() {
  return state_->next();
}
int64_t VideoReader::damaged_packets() const {
  return state_->decoder.damaged_packets();
}

}  // namespace wan
