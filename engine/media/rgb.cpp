#include "engine/media/rgb.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <new>
#include <stdexcept>

namespace wan::av {
namespace {

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

// libavfilter knows a full-range format by its range, not by its name.
void rename_full_range(AVFrame& picture) {
  constexpr std::pair<AVPixelFormat, AVPixelFormat> kNames[] = {{AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P},
                                                                {AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P},
                                                                {AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P},
                                                                {AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P},
                                                                {AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P}};
  for (const auto& [old, name] : kNames) {
    if (picture.format != old) continue;
    picture.format = name;
    picture.color_range = AVCOL_RANGE_JPEG;
  }
}

std::string text_of(const char* name) {
  return name ? name : "unknown";
}

Frame copy_of(const AVFrame& picture) {
  Frame copy = new_frame();
  wan::av::check(av_frame_ref(copy.get(), &picture), "filtering");
  return copy;
}

}  // namespace

Colours RgbConverter::way_of(const AVFrame& picture) {
  Colours colours = colours_of(picture, kind_, peak_nits_);
  if (colours.peak_nits > 0) peak_nits_ = colours.peak_nits;  // one curve for all of a video
  const std::pair<std::string, std::string> told{colours.told, colours.change};
  if (!told.first.empty() && std::find(told_.begin(), told_.end(), told) == told_.end()) told_.push_back(told);
  return colours;
}

Frame RgbConverter::filtered(const AVFrame& picture, const std::string& filters) {
  Frame in = copy_of(picture), out = new_frame();
  rename_full_range(*in);
  set_interlaced(*in, false);  // its fields are to be shown together
  try {
    if (!graph_ || !graph_->takes(*in) || graph_filters_ != filters) {
      graph_.emplace(*in, filters);
      graph_filters_ = filters;
    }
    graph_->push(in.get());
    if (graph_->pull(*out)) return out;
  } catch (const std::runtime_error&) {
    graph_.reset();
  }
  throw UnreadableColours(std::string("its colours (matrix ") + text_of(av_color_space_name(picture.colorspace)) +
                          ", primaries " + text_of(av_color_primaries_name(picture.color_primaries)) + ", transfer " +
                          text_of(av_color_transfer_name(picture.color_trc)) +
                          ") cannot be converted; export it as BT.709");
}

void RgbConverter::prepare(const AVFrame& picture, int matrix, int64_t height, int64_t width) {
  const int wanted[9] = {picture.width,      picture.height,      picture.format,
                         picture.colorspace, picture.color_range, picture.chroma_location,
                         int(height),        int(width),          matrix};
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
  wan::av::check(sws_init_context(scaler, nullptr, nullptr), "converting to RGB");
  const int* coefficients = sws_getCoefficients(matrix);
  // Refused for RGB sources, which have no matrix.
  sws_setColorspaceDetails(scaler, coefficients, full_range(picture), coefficients, 1, 0, 1 << 16, 1 << 16);
  std::copy(std::begin(wanted), std::end(wanted), made_for_);
}

at::Tensor RgbConverter::operator()(const AVFrame& picture, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0 || height > (1 << 20) || width > (1 << 20)) {
    throw std::runtime_error("converting to RGB: a picture of " + std::to_string(width) + "x" + std::to_string(height));
  }
  const Colours colours = way_of(picture);
  if (colours.filters.empty()) return scaled(picture, colours.matrix, height, width);
  return scaled(*filtered(picture, colours.filters), AVCOL_SPC_SMPTE170M, height, width);
}

void RgbConverter::check(const AVFrame& picture) {
  const Colours colours = way_of(picture);
  if (!colours.filters.empty()) filtered(picture, colours.filters);
}

at::Tensor RgbConverter::scaled(const AVFrame& picture, int matrix, int64_t height, int64_t width) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  if (format && is_deep_rgb(*format) && height == picture.height && width == picture.width) {
    return upper_bytes(picture, *format);
  }
  prepare(picture, matrix, height, width);
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
