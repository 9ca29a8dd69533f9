#include "engine/media/av_picture.h"

#include <cstring>
#include <new>

#include "engine/media/colour.h"
#include "engine/media/rgb.h"
#include "engine/media/transparency.h"

namespace wan::av {
namespace {

Packet packet_of(Bytes file) {
  Packet packet = new_packet();
  if (av_new_packet(packet.get(), int(file.size())) < 0) throw std::bad_alloc();
  std::memcpy(packet->data, file.data(), file.size());
  return packet;
}

Frame decoded(const Source& source, AVCodecID id, Bytes file, int64_t most_pixels) {
  Codec codec = new_decoder(id);
  if (!codec) source.refuse(std::string("FFmpeg is built without its decoder for ") + avcodec_get_name(id));
  PictureLimit limit{.pixels = most_pixels};
  limit_pictures(*codec, limit);
  codec->thread_count = 1;
  codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;  // half a picture is refused, as PIL refuses it
  if (avcodec_open2(codec.get(), nullptr, nullptr) < 0) source.refuse("FFmpeg's decoder cannot be opened");
  Frame picture = new_frame();
  int code = avcodec_send_packet(codec.get(), packet_of(file).get());
  if (code >= 0) code = avcodec_receive_frame(codec.get(), picture.get());
  if (code == AVERROR(EAGAIN)) {  // a decoder that holds its only picture back
    avcodec_send_packet(codec.get(), nullptr);
    code = avcodec_receive_frame(codec.get(), picture.get());
  }
  const std::string most = std::to_string(most_pixels / 1'000'000) + " million";
  if (limit.width > 0) {
    source.refuse("it has " + std::to_string(limit.width) + "x" + std::to_string(limit.height) + " pixels, at most " +
                  most + " are read");
  }
  if (code == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (code == AVERROR_PATCHWELCOME) source.refuse("a form of this format that is not read; save it as PNG");
  if (code < 0) source.refuse("it is damaged, truncated or above " + most + " pixels");
  // Its sYCC is of full range, which the decoder does not say.
  if (id == AV_CODEC_ID_JPEG2000) picture->color_range = AVCOL_RANGE_JPEG;
  if ((picture->flags & AV_FRAME_FLAG_CORRUPT) || picture->decode_error_flags) source.refuse("it is damaged");
  return picture;
}

}  // namespace

Picture decode_picture(const Source& source, AVCodecID codec, Bytes file, int64_t most_pixels) try {
  const Frame frame = decoded(source, codec, file, most_pixels);
  Picture picture{.rgb = RgbConverter(RgbConverter::Kind::Image)(*frame, frame->height, frame->width)};
  if (const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(frame->format))) {
    picture.bits = format->comp[0].depth;
    picture.transparent = has_transparency(*frame);
  }
  if (const AVFrameSideData* profile = av_frame_get_side_data(frame.get(), AV_FRAME_DATA_ICC_PROFILE)) {
    picture.profile.assign(reinterpret_cast<const char*>(profile->data), profile->size);
  }
  return picture;
} catch (const UnreadableColours& unreadable) {
  source.refuse(unreadable.what());
}

}  // namespace wan::av
