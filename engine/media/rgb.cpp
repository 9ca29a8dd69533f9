#include "engine/media/rgb.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <new>
#include <stdexcept>

namespace wan::av {
namespace {

bool full_range(const AVFrame& picture) {
  switch (picture.format) {  // the old names of full-range formats, which JPEG decoders still use
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P:
      return true;
  }
  if (picture.color_range != AVCOL_RANGE_UNSPECIFIED) return picture.color_range == AVCOL_RANGE_JPEG;
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  return format && format->nb_components < 3;  // plain grey of image files
}

const int* matrix_of(const AVFrame& picture, bool image) {
  int space = picture.colorspace;
  if (space == AVCOL_SPC_UNSPECIFIED || space == AVCOL_SPC_RGB || space == AVCOL_SPC_RESERVED) {
    space = !image && picture.height >= 720 ? int(SWS_CS_ITU709) : int(SWS_CS_ITU601);
  }
  return sws_getCoefficients(space);
}

// Chroma position in 1/256 of a luma pixel. H.264's default is left: on the left pixel's column, between the rows.
void set_chroma_position(SwsContext* scaler, const AVFrame& picture, bool image) {
  int at = picture.chroma_location;
  if (at == AVCHROMA_LOC_UNSPECIFIED) at = image ? AVCHROMA_LOC_CENTER : AVCHROMA_LOC_LEFT;
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  if (!format) return;
  bool left = at == AVCHROMA_LOC_LEFT || at == AVCHROMA_LOC_TOPLEFT || at == AVCHROMA_LOC_BOTTOMLEFT;
  bool top = at == AVCHROMA_LOC_TOP || at == AVCHROMA_LOC_TOPLEFT;
  if (format->log2_chroma_w == 1) av_opt_set_int(scaler, "src_h_chr_pos", left ? 0 : 128, 0);
  if (format->log2_chroma_h == 1) av_opt_set_int(scaler, "src_v_chr_pos", top ? 0 : 128, 0);
}

// Pictures of 16 bits a channel without a matrix (PNG, TIFF): their upper bytes. libswscale would go through YUV and
// dither.
bool is_deep_rgb(const AVPixFmtDescriptor& format) {
  constexpr uint64_t kOther =
      AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT;
  const bool grey = format.nb_components < 3, rgb = format.flags & AV_PIX_FMT_FLAG_RGB;
  return format.comp[0].depth == 16 && (grey || rgb) && !(format.flags & kOther);
}

at::Tensor upper_bytes(const AVFrame& picture, const AVPixFmtDescriptor& format) {
  at::Tensor rgb = at::empty({picture.height, picture.width, 3}, at::kByte);
  const int upper = format.flags & AV_PIX_FMT_FLAG_BE ? 0 : 1;
  for (int c = 0; c < 3; ++c) {
    const AVComponentDescriptor& from = format.comp[format.nb_components < 3 ? 0 : c];
    auto* out = rgb.data_ptr<uint8_t>() + c;
    for (int y = 0; y < picture.height; ++y) {
      const uint8_t* row = picture.data[from.plane] + int64_t(y) * picture.linesize[from.plane] + from.offset + upper;
      for (int x = 0; x < picture.width; ++x, out += 3) *out = row[int64_t(x) * from.step];
    }
  }
  return rgb;
}

}  // namespace

void RgbConverter::prepare(const AVFrame& picture, int64_t height, int64_t width) {
  const int wanted[8] = {picture.width,       picture.height,          picture.format, picture.colorspace,
                         picture.color_range, picture.chroma_location, int(height),    int(width)};
  if (scaler_ && std::equal(std::begin(wanted), std::end(wanted), made_for_)) return;
  scaler_.reset(sws_alloc_context());
  if (!scaler_) throw std::bad_alloc();
  SwsContext* scaler = scaler_.get();
  av_opt_set_int(scaler, "srcw", picture.width, 0);
  av_opt_set_int(scaler, "srch", picture.height, 0);
  av_opt_set_int(scaler, "src_format", picture.format, 0);
  av_opt_set_int(scaler, "dstw", width, 0);
  av_opt_set_int(scaler, "dsth", height, 0);
  av_opt_set_int(scaler, "dst_format", AV_PIX_FMT_RGB24, 0);
  // Bicubic also for JPEG: libswscale's bilinear repeats chroma, and is 11 dB further from libjpeg's picture.
  av_opt_set_int(scaler, "sws_flags", SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT, 0);
  set_chroma_position(scaler, picture, kind_ == Kind::Image);
  check(sws_init_context(scaler, nullptr, nullptr), "converting to RGB");
  const int* matrix = matrix_of(picture, kind_ == Kind::Image);
  // Refused for RGB sources, which have no matrix.
  sws_setColorspaceDetails(scaler, matrix, full_range(picture), matrix, 1, 0, 1 << 16, 1 << 16);
  std::copy(std::begin(wanted), std::end(wanted), made_for_);
}

at::Tensor RgbConverter::operator()(const AVFrame& picture, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0 || height > (1 << 20) || width > (1 << 20)) {
    throw std::runtime_error("converting to RGB: a picture of " + std::to_string(width) + "x" + std::to_string(height));
  }
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  if (format && is_deep_rgb(*format) && height == picture.height && width == picture.width) {
    return upper_bytes(picture, *format);
  }
  prepare(picture, height, width);
  // libswscale's vector code may write a little past a row: into the next one, or here into the margin.
  constexpr int64_t kMargin = 256;
  at::Tensor memory = at::empty({height * width * 3 + kMargin}, at::kByte);
  uint8_t* planes[4] = {memory.data_ptr<uint8_t>()};
  const int strides[4] = {int(width * 3)};
  int rows = sws_scale(scaler_.get(), picture.data, picture.linesize, 0, picture.height, planes, strides);
  if (rows != int(height)) throw std::runtime_error("converting to RGB: " + std::to_string(rows) + " rows came");
  return memory.narrow(0, 0, height * width * 3).view({height, width, 3});
}

}  // namespace wan::av
