#include "engine/media/av.h"

#include <new>
#include <stdexcept>

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
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof(text));
  return text;
}

int check(int code, const std::string& doing) {
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
