#include "engine/media/png.h"

#include <ATen/ATen.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>

#include "engine/media/av.h"
#include "models/files/atomic_file.h"
#include "models/files/error.h"

namespace wan {
namespace {

av::Packet encode(const at::Tensor& rgb) {
  const AVCodec* encoder = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (!encoder) throw std::runtime_error("this libavcodec has no PNG encoder");
  av::Codec codec(avcodec_alloc_context3(encoder));
  if (!codec) throw std::bad_alloc();
  codec->height = int(rgb.size(0));
  codec->width = int(rgb.size(1));
  codec->pix_fmt = AV_PIX_FMT_RGB24;
  codec->time_base = {1, 1};
  codec->thread_count = 1;
  av::check(avcodec_open2(codec.get(), nullptr, nullptr), "opening the PNG encoder");
  av::Frame frame = av::new_frame();
  frame->format = AV_PIX_FMT_RGB24;
  frame->height = codec->height;
  frame->width = codec->width;
  av::check(av_frame_get_buffer(frame.get(), 0), "encoding a PNG");
  const auto* row = rgb.data_ptr<uint8_t>();
  for (int y = 0; y < frame->height; ++y, row += frame->width * 3) {
    std::memcpy(frame->data[0] + int64_t(y) * frame->linesize[0], row, size_t(frame->width) * 3);
  }
  av::check(avcodec_send_frame(codec.get(), frame.get()), "encoding a PNG");
  av::check(avcodec_send_frame(codec.get(), nullptr), "encoding a PNG");
  av::Packet packet = av::new_packet();
  av::check(avcodec_receive_packet(codec.get(), packet.get()), "encoding a PNG");
  return packet;
}

}  // namespace

void write_png(const std::string& path, const at::Tensor& rgb) {
  if (rgb.dim() != 3 || rgb.size(2) != 3 || rgb.numel() == 0 || rgb.scalar_type() != at::kByte) {
    throw std::invalid_argument("[write_png] must be uint8 [H, W, 3], got " + std::string(rgb.toString()) +
                                c10::str(rgb.sizes()));
  }
  av::silence();
  AtomicFile file(path);
  av::Packet packet = encode(rgb.contiguous());
  std::ofstream out(file.part(), std::ios::binary);
  out.write(reinterpret_cast<const char*>(packet->data), packet->size);
  out.close();
  if (!out) throw std::runtime_error("[" + shown_name(path) + "] cannot be written: " + std::strerror(errno));
  file.commit();
}

}  // namespace wan
