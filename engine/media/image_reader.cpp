#include "engine/media/image_reader.h"

#include <ATen/ATen.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <new>
#include <string_view>

#include "engine/media/input.h"
#include "engine/media/orientation.h"
#include "engine/media/rgb.h"

namespace wan {
namespace {

using av::Source;

av::Packet read_file(const Source& source) {
  int64_t size = av::checked_size(source, kMostImageBytes);
  av::Packet packet = av::new_packet();
  if (av_new_packet(packet.get(), int(size)) < 0) throw std::bad_alloc();
  std::ifstream file(source.file.path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(packet->data), size)) source.refuse(std::strerror(errno));
  return packet;
}

std::string_view text_of(const AVPacket& file) {
  return {reinterpret_cast<const char*>(file.data), size_t(file.size)};
}

AVCodecID codec_of(const AVPacket& file) {
  std::string_view text = text_of(file);
  auto begins = [&](std::string_view mark) { return text.substr(0, mark.size()) == mark; };
  if (begins("\x89PNG\r\n\x1A\n")) return AV_CODEC_ID_PNG;
  if (begins("\xFF\xD8\xFF")) return AV_CODEC_ID_MJPEG;
  if (begins("RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP") return AV_CODEC_ID_WEBP;
  if (begins("GIF87a") || begins("GIF89a")) return AV_CODEC_ID_GIF;
  if (begins(std::string_view("II*\0", 4)) || begins(std::string_view("MM\0*", 4))) return AV_CODEC_ID_TIFF;
  if (begins("BM")) return AV_CODEC_ID_BMP;
  return AV_CODEC_ID_NONE;
}

// The decoder fills up what a cut JPEG lacks without a word. No marker can stand inside a scan, so the last scan (SOS)
// must be followed by the end of the image (EOI).
bool is_cut_jpeg(const AVPacket& file) {
  std::string_view text = text_of(file);
  const size_t scan = text.rfind("\xFF\xDA"), end = text.rfind("\xFF\xD9");
  return scan == text.npos || end == text.npos || end < scan;
}

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | uint8_t(bytes[i]);
  return value;
}

// libavcodec reads still WebP only. The first frame of an animated one is a still picture but for its wrapping:
// ANMF, its length, x/2, y/2, width - 1, height - 1, duration (3 bytes each), flags, then the chunks of the still.
struct AnimatedWebp {
  av::Packet first;  // null where the file is a still
  int64_t canvas_height = 0, canvas_width = 0, top = 0, left = 0;
};

AnimatedWebp unwrap_animation(const Source& source, const AVPacket& file) {
  AnimatedWebp animation;
  std::string_view text = text_of(file);
  if (text.size() < 30 || text.substr(12, 4) != "VP8X" || !(text[20] & 2)) return animation;
  animation.canvas_width = 1 + little_endian(text.substr(24, 3));
  animation.canvas_height = 1 + little_endian(text.substr(27, 3));
  for (size_t at = 12; at + 8 <= text.size();) {
    size_t length = little_endian(text.substr(at + 4, 4));
    if (text.substr(at, 4) != "ANMF") {
      at += 8 + length + length % 2;
      continue;
    }
    if (length < 16 || at + 8 + length > text.size()) break;
    std::string_view frame = text.substr(at + 8, length), picture = frame.substr(16);
    // Without VP8X there can be no separate alpha, which is dropped anyway.
    if (picture.size() >= 8 && picture.substr(0, 4) == "ALPH") {
      size_t alpha = 8 + size_t(little_endian(picture.substr(4, 4))), padded = alpha + alpha % 2;
      picture = padded < picture.size() ? picture.substr(padded) : std::string_view();
    }
    animation.left = 2 * little_endian(frame.substr(0, 3));
    animation.top = 2 * little_endian(frame.substr(3, 3));
    animation.first = av::new_packet();
    if (av_new_packet(animation.first.get(), int(12 + picture.size())) < 0) throw std::bad_alloc();
    uint8_t* out = animation.first->data;
    uint32_t riff = uint32_t(4 + picture.size());
    std::memcpy(out, "RIFF", 4);
    for (int i = 0; i < 4; ++i) out[4 + i] = uint8_t(riff >> 8 * i);
    std::memcpy(out + 8, "WEBP", 4);
    std::memcpy(out + 12, picture.data(), picture.size());
    return animation;
  }
  source.refuse("an animated WebP without a first frame");
}

at::Tensor decode(const Source& source, AVCodecID id, const AVPacket& file) {
  av::Codec codec = av::new_decoder(id);
  if (!codec) source.refuse(std::string("this libavcodec has no decoder for ") + avcodec_get_name(id));
  av::PictureLimit limit{.pixels = kMostImagePixels};
  av::limit_pictures(*codec, limit);
  codec->thread_count = 1;
  // Half a picture is refused, as PIL refuses it. The TIFF decoder would also refuse each tag that it does not know.
  codec->err_recognition = id == AV_CODEC_ID_TIFF ? AV_EF_CRCCHECK : AV_EF_CRCCHECK | AV_EF_EXPLODE;
  int code = avcodec_open2(codec.get(), nullptr, nullptr);
  if (code < 0) source.refuse(av::error_text(code));
  av::Frame picture = av::new_frame();
  code = avcodec_send_packet(codec.get(), &file);
  if (code >= 0) code = avcodec_receive_frame(codec.get(), picture.get());
  if (code == AVERROR(EAGAIN)) {  // a decoder that holds its only picture back
    avcodec_send_packet(codec.get(), nullptr);
    code = avcodec_receive_frame(codec.get(), picture.get());
  }
  if (limit.width > 0) {
    source.refuse("it has " + std::to_string(limit.width) + "x" + std::to_string(limit.height) + " pixels, at most " +
                  std::to_string(kMostImagePixels / 1'000'000) + " million are read");
  }
  if (code < 0) {
    source.refuse("it is damaged, truncated or above " + std::to_string(kMostImagePixels / 1'000'000) +
                  " million pixels: " + av::error_text(code));
  }
  if ((picture->flags & AV_FRAME_FLAG_CORRUPT) || picture->decode_error_flags) source.refuse("it is damaged");
  return av::RgbConverter(av::RgbConverter::Kind::Image)(*picture, picture->height, picture->width);
}

at::Tensor on_canvas(const Source& source, const AnimatedWebp& animation, const at::Tensor& frame) {
  int64_t height = animation.canvas_height, width = animation.canvas_width;
  if (frame.size(0) == height && frame.size(1) == width) return frame;
  if (height * width > kMostImagePixels || animation.top + frame.size(0) > height ||
      animation.left + frame.size(1) > width) {
    source.refuse("an animated WebP whose first frame does not fit its canvas");
  }
  at::Tensor canvas = at::zeros({height, width, 3}, at::kByte);
  canvas.narrow(0, animation.top, frame.size(0)).narrow(1, animation.left, frame.size(1)).copy_(frame);
  return canvas;
}

}  // namespace

at::Tensor read_image(const MediaFile& input) {
  av::silence();
  Source source{input, "an image (PNG, JPEG, WebP, BMP, TIFF, GIF)"};
  av::Packet file = read_file(source);
  AVCodecID codec = codec_of(*file);
  if (codec == AV_CODEC_ID_NONE) source.refuse("none of these by its first bytes");
  if (codec == AV_CODEC_ID_MJPEG && is_cut_jpeg(*file)) source.refuse("it is truncated");
  AnimatedWebp animation;
  if (codec == AV_CODEC_ID_WEBP) animation = unwrap_animation(source, *file);
  at::Tensor rgb = animation.first ? on_canvas(source, animation, decode(source, codec, *animation.first))
                                   : decode(source, codec, *file);
  return upright(rgb, exif_orientation(file->data, size_t(file->size)));
}

}  // namespace wan
