#include "engine/media/av_picture.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/media/colour.h"
#include "engine/media/rgb.h"

namespace wan::av {
namespace {

Packet packet_of(Bytes file) {
  Packet packet = new_packet();
  if (av_new_packet(packet.get(), int(file.size())) < 0) throw std::bad_alloc();
  std::memcpy(packet->data, file.data(), file.size());
  return packet;
}

// Whether a pixel uses an entry of the palette that is not opaque.
bool has_transparent_entry(const AVFrame& picture) {
  bool transparent[256];
  for (int i = 0; i < 256; ++i) {
    uint32_t colour;
    std::memcpy(&colour, picture.data[1] + 4 * i, 4);
    transparent[i] = colour >> 24 != 0xFF;
  }
  for (int y = 0; y < picture.height; ++y) {
    const uint8_t* row = picture.data[0] + int64_t(y) * picture.linesize[0];
    if (std::any_of(row, row + picture.width, [&](uint8_t entry) { return transparent[entry]; })) return true;
  }
  return false;
}

bool has_transparency(const AVFrame& picture, const AVPixFmtDescriptor& format) {
  if (format.flags & AV_PIX_FMT_FLAG_PAL) return has_transparent_entry(picture);
  constexpr uint64_t kOther = AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT;
  if (!(format.flags & AV_PIX_FMT_FLAG_ALPHA) || (format.flags & kOther)) return false;
  const AVComponentDescriptor& alpha = format.comp[format.nb_components - 1];
  const bool wide = alpha.depth > 8, big = format.flags & AV_PIX_FMT_FLAG_BE;
  const int most = (1 << alpha.depth) - 1;
  for (int y = 0; y < picture.height; ++y) {
    const uint8_t* at = picture.data[alpha.plane] + int64_t(y) * picture.linesize[alpha.plane] + alpha.offset;
    for (int x = 0; x < picture.width; ++x, at += alpha.step) {
      const int value = wide ? at[big ? 1 : 0] | at[big ? 0 : 1] << 8 : at[0];
      if (value >> alpha.shift < most) return true;
    }
  }
  return false;
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
    picture.transparent = has_transparency(*frame, *format);
  }
  if (const AVFrameSideData* profile = av_frame_get_side_data(frame.get(), AV_FRAME_DATA_ICC_PROFILE)) {
    picture.profile.assign(reinterpret_cast<const char*>(profile->data), profile->size);
  }
  return picture;
} catch (const UnreadableColours& unreadable) {
  source.refuse(unreadable.what());
}

}  // namespace wan::av
