#include "engine/media/encoded_picture.h"

#include <ATen/ATen.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <vector>

#include "engine/media/av.h"

namespace wan {
namespace {

constexpr int kJpegQuality = 3;  // of libavcodec's scale: 2 is its best, 31 its worst

void check(const at::Tensor& rgb) {
  if (rgb.dim() != 3 || rgb.size(2) != 3 || rgb.numel() == 0 || rgb.scalar_type() != at::kByte)
    throw std::invalid_argument("[picture] must be uint8 [H, W, 3], got " + std::string(rgb.toString()) +
                                c10::str(rgb.sizes()));
}

av::Codec new_codec(AVCodecID id, AVPixelFormat format, const at::Tensor& rgb, const std::string& kind) {
  av::silence();
  const AVCodec* encoder = avcodec_find_encoder(id);
  if (!encoder) throw std::runtime_error("this libavcodec has no " + kind + " encoder");
  av::Codec codec(avcodec_alloc_context3(encoder));
  if (!codec) throw std::bad_alloc();
  codec->height = int(rgb.size(0));
  codec->width = int(rgb.size(1));
  codec->pix_fmt = format;
  codec->time_base = {1, 1};
  codec->thread_count = 1;
  return codec;
}

/// `planes`: uint8 [height, bytes of a row] for each plane of the format.
std::string encoded(av::Codec& codec, const std::vector<at::Tensor>& planes, const std::string& kind) {
  av::check(avcodec_open2(codec.get(), nullptr, nullptr), "opening the " + kind + " encoder");
  const std::string doing = "encoding a " + kind;
  av::Frame frame = av::new_frame();
  frame->format = codec->pix_fmt;
  frame->height = codec->height;
  frame->width = codec->width;
  frame->color_range = codec->color_range;
  frame->quality = codec->global_quality;
  frame->pts = 0;
  av::check(av_frame_get_buffer(frame.get(), 0), doing);
  for (size_t plane = 0; plane < planes.size(); ++plane) {
    const at::Tensor& bytes = planes[plane];
    const auto* row = bytes.const_data_ptr<uint8_t>();
    for (int y = 0; y < frame->height; ++y, row += bytes.size(1))
      std::memcpy(frame->data[plane] + int64_t(y) * frame->linesize[plane], row, size_t(bytes.size(1)));
  }
  av::check(avcodec_send_frame(codec.get(), frame.get()), doing);
  av::check(avcodec_send_frame(codec.get(), nullptr), doing);
  av::Packet packet = av::new_packet();
  av::check(avcodec_receive_packet(codec.get(), packet.get()), doing);
  return {reinterpret_cast<const char*>(packet->data), size_t(packet->size)};
}

/// The planes Y, Cb and Cr of JFIF: BT.601 in the whole range.
std::vector<at::Tensor> jpeg_planes(const at::Tensor& rgb) {
  const at::Tensor colours = rgb.to(at::kFloat), red = colours.select(2, 0), green = colours.select(2, 1),
                   blue = colours.select(2, 2);
  const auto plane = [](const at::Tensor& values) { return values.round().clamp_(0, 255).to(at::kByte).contiguous(); };
  return {plane(red * 0.299 + green * 0.587 + blue * 0.114),
          plane(red * -0.168736 + green * -0.331264 + blue * 0.5 + 128),
          plane(red * 0.5 + green * -0.418688 + blue * -0.081312 + 128)};
}

}  // namespace

std::string encoded_png(const at::Tensor& rgb) {
  check(rgb);
  av::Codec codec = new_codec(AV_CODEC_ID_PNG, AV_PIX_FMT_RGB24, rgb, "PNG");
  return encoded(codec, {rgb.contiguous().view({rgb.size(0), rgb.size(1) * 3})}, "PNG");
}

std::string encoded_jpeg(const at::Tensor& rgb) {
  check(rgb);
  av::Codec codec = new_codec(AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUV444P, rgb, "JPEG");
  codec->color_range = AVCOL_RANGE_JPEG;
  codec->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;  // without the library's name in the file
  codec->global_quality = FF_QP2LAMBDA * kJpegQuality;
  return encoded(codec, jpeg_planes(rgb), "JPEG");
}

}  // namespace wan
