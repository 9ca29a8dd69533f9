#include "engine/media/av.h"

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

namespace wan::av {

Frame new_frame() {
  Frame frame(av_frame_alloc());
  if (!frame) throw std::bad_alloc();
  return frame;
}

Packet new_packet() {
  Packet packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  return packet;
}

Codec new_decoder(AVCodecID codec, const AVCodecParameters* parameters) {
  const AVCodec* decoder = avcodec_find_decoder(codec);
  if (!decoder) return nullptr;
  Codec context(avcodec_alloc_context3(decoder));
  if (!context) throw std::bad_alloc();
  if (parameters) check(avcodec_parameters_to_context(context.get(), parameters), "reading codec parameters");
  return context;
}

std::string error_text(int code) {
  switch (code) {
    case AVERROR_INVALIDDATA:
      return "its content is damaged, cut short or of another kind";
    case AVERROR_EOF:
      return "it ends too early";
    case AVERROR_STREAM_NOT_FOUND:
      return "it has no such track";
    case AVERROR_DECODER_NOT_FOUND:
    case AVERROR_DEMUXER_NOT_FOUND:
    case AVERROR_PROTOCOL_NOT_FOUND:
      return "the installed FFmpeg does not read its kind";
    case AVERROR_ENCODER_NOT_FOUND:
    case AVERROR_MUXER_NOT_FOUND:
      return "the installed FFmpeg does not write its kind";
    case AVERROR_PATCHWELCOME:
    case AVERROR_EXPERIMENTAL:
      return "FFmpeg does not support it";
    case AVERROR_EXTERNAL:
      return "a library of FFmpeg's fails";
  }
  // The system's errors are small numbers, FFmpeg's own are four letters.
  return code > -4096 ? std::generic_category().message(-code) : "FFmpeg fails (" + std::to_string(code) + ")";
}

int check(int code, const std::string& doing) {
  if (code == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (code < 0) throw std::runtime_error(doing + ": " + error_text(code));
  return code;
}

void silence() {
  av_log_set_level(AV_LOG_QUIET);
}

void limit_pictures(AVCodecContext& codec, PictureLimit& limit) {
  codec.opaque = &limit;
  codec.get_buffer2 = [](AVCodecContext* context, AVFrame* frame, int flags) {
    auto& limit = *static_cast<PictureLimit*>(context->opaque);
    if (int64_t(frame->width) * frame->height > limit.pixels) {
      limit.width = frame->width;
      limit.height = frame->height;
      return AVERROR(EINVAL);
    }
    return avcodec_default_get_buffer2(context, frame, flags);
  };
}

}  // namespace wan::av
