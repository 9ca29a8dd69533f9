#include "engine/media/png.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>

#include "engine/media/av.h"
#include "engine/media/part_file.h"
#include "engine/media/resize.h"

namespace wan {
namespace {

constexpr int64_t kGap = 4, kSmallest = 256, kLargest = 480;  // pixels between tiles; a tile's width
constexpr int kBackground = 24;                               // a dark grey

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
  PartFile file(path);
  av::Packet packet = encode(rgb.contiguous());
  std::ofstream out(file.part(), std::ios::binary);
  out.write(reinterpret_cast<const char*>(packet->data), packet->size);
  out.close();
  if (!out) throw std::runtime_error("[" + path + "] cannot be written: " + std::strerror(errno));
  file.commit();
}

ContactSheet::ContactSheet(int64_t frames, int64_t tiles, int64_t columns)
    : frames_(std::max<int64_t>(frames, 1)), tiles_(std::clamp<int64_t>(tiles, 1, frames_)), columns_(columns) {
  if (columns < 1) throw std::invalid_argument("[ContactSheet] columns must be at least 1");
}

void ContactSheet::add(const at::Tensor& frames) {
  for (int64_t i = 0; i < frames.size(0); ++i, ++seen_) {
    auto next = int64_t(picked_.size());
    if (next >= tiles_) continue;
    int64_t wanted = tiles_ == 1 ? frames_ / 2 : next * (frames_ - 1) / (tiles_ - 1);
    if (seen_ != wanted) continue;
    at::Tensor tile = frames[i];
    int64_t height = tile.size(0), width = tile.size(1), times = kSmallest / width;
    if (times > 1) tile = tile.repeat_interleave(times, 0).repeat_interleave(times, 1);
    if (width > kLargest) tile = resize_pillow(tile, std::max<int64_t>(1, height * kLargest / width), kLargest);
    picked_.push_back(tile.clone());  // a view would keep the whole chunk alive
  }
}

at::Tensor ContactSheet::image() const {
  if (picked_.empty()) throw std::logic_error("[ContactSheet] no frame came");
  auto tiles = int64_t(picked_.size()), columns = std::min(columns_, tiles), rows = (tiles + columns - 1) / columns;
  int64_t height = picked_[0].size(0), width = picked_[0].size(1);
  at::Tensor sheet =
      at::full({rows * (height + kGap) + kGap, columns * (width + kGap) + kGap, 3}, kBackground, at::kByte);
  for (int64_t i = 0; i < tiles; ++i) {
    int64_t top = kGap + i / columns * (height + kGap), left = kGap + i % columns * (width + kGap);
    sheet.narrow(0, top, height).narrow(1, left, width).copy_(picked_[size_t(i)]);
  }
  return sheet;
}

}  // namespace wan
