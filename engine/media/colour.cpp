#include "engine/media/colour.h"

extern "C" {
#include <libavutil/mastering_display_metadata.h>
}

#include <algorithm>
#include <cmath>
#include <cstring>

namespace wan::av {
namespace {

constexpr double kReferenceWhite = 203;  // nits of white paper in HDR (ITU-R BT.2408)
constexpr double kUsualPeak = 1000;

const char* const kSdrCommand =
    "ffmpeg -i IN -vf zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p OUT.mp4";

enum class Family { Yuv, Rgb, Other };  // other: grey, and XYZ, which libswscale converts

Family family_of(const AVFrame& picture) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  if (!format || std::strncmp(format->name, "xyz", 3) == 0) return Family::Other;
  if (format->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) return Family::Rgb;
  return format->nb_components < 3 ? Family::Other : Family::Yuv;
}

bool is_hdr(int transfer) {
  return transfer == AVCOL_TRC_SMPTE2084 || transfer == AVCOL_TRC_ARIB_STD_B67;
}

// Far from what a screen expects: linear light and logarithms.
bool is_linear_or_log(int transfer) {
  return transfer == AVCOL_TRC_LINEAR || transfer == AVCOL_TRC_LOG || transfer == AVCOL_TRC_LOG_SQRT;
}

bool is_wide(int primaries) {
  return primaries == AVCOL_PRI_BT2020 || primaries == AVCOL_PRI_SMPTE431 || primaries == AVCOL_PRI_SMPTE432;
}

bool swscale_has(int matrix) {
  return matrix == AVCOL_SPC_BT709 || matrix == AVCOL_SPC_FCC || matrix == AVCOL_SPC_BT470BG ||
         matrix == AVCOL_SPC_SMPTE170M || matrix == AVCOL_SPC_SMPTE240M || matrix == AVCOL_SPC_BT2020_NCL;
}

bool zscale_has(int matrix) {
  return matrix == AVCOL_SPC_YCGCO || matrix == AVCOL_SPC_BT2020_CL || matrix == AVCOL_SPC_CHROMA_DERIVED_NCL ||
         matrix == AVCOL_SPC_CHROMA_DERIVED_CL || matrix == AVCOL_SPC_ICTCP;
}

std::string name_or_number(const char* name, int value) {
  return name ? name : "number " + std::to_string(value);
}

struct Tags {
  Family family = Family::Yuv;
  int matrix = 0, primaries = 0, transfer = 0;
  bool matrix_assumed = false, primaries_assumed = false;
};

/// The picture's tags, its gaps filled.
Tags tags_of(const AVFrame& picture, PictureKind kind) {
  Tags tags{.family = family_of(picture),
            .matrix = picture.colorspace,
            .primaries = picture.color_primaries,
            .transfer = picture.color_trc};
  if (tags.family != Family::Yuv) {
    tags.matrix = AVCOL_SPC_RGB;
  } else if (tags.matrix == AVCOL_SPC_UNSPECIFIED || tags.matrix == AVCOL_SPC_RGB ||
             tags.matrix == AVCOL_SPC_RESERVED) {
    const bool video = kind == PictureKind::Video;
    tags.matrix_assumed = video;
    if (video && is_hdr(tags.transfer)) {
      tags.matrix = AVCOL_SPC_BT2020_NCL;
    } else {
      tags.matrix = video && (picture.width >= 1280 || picture.height > 576) ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    }
  }
  const int matrix = tags.matrix;
  if (tags.primaries == AVCOL_PRI_UNSPECIFIED || tags.primaries == AVCOL_PRI_RESERVED ||
      tags.primaries == AVCOL_PRI_RESERVED0) {
    const bool wide = matrix == AVCOL_SPC_BT2020_NCL || matrix == AVCOL_SPC_BT2020_CL || matrix == AVCOL_SPC_ICTCP;
    tags.primaries = wide || is_hdr(tags.transfer) ? AVCOL_PRI_BT2020 : AVCOL_PRI_BT709;
    tags.primaries_assumed = true;
  }
  if (tags.transfer == AVCOL_TRC_UNSPECIFIED || tags.transfer == AVCOL_TRC_RESERVED ||
      tags.transfer == AVCOL_TRC_RESERVED0) {
    tags.transfer = AVCOL_TRC_BT709;  // BT.2020's is the same curve
    if (matrix == AVCOL_SPC_ICTCP) {
      throw UnreadableColours(
          "its colours are ICtCp, but it does not state whether they are PQ or HLG; export it as BT.709, or with its "
          "transfer function");
    }
  }
  return tags;
}

void check_matrix(int matrix) {
  if (matrix == AVCOL_SPC_RGB || swscale_has(matrix) || zscale_has(matrix)) return;
  throw UnreadableColours("its colour matrix is " + name_or_number(av_color_space_name(AVColorSpace(matrix)), matrix) +
                          ", which cannot be converted; export it as BT.709");
}

void check_filters(const std::string& subject, bool hdr, bool (*has)(const std::string&)) {
  for (const char* filter : {"zscale", "tonemap"}) {
    if (has(filter) || (!hdr && filter != std::string("zscale"))) continue;
    throw UnreadableColours("it has " + subject + ", and the FFmpeg that this program runs with lacks the filter " +
                            filter + "; convert it to BT.709 first, with an FFmpeg that has it" +
                            (hdr ? std::string(": ") + kSdrCommand : ""));
  }
}

/// The formats among which libavfilter chooses the one that loses nothing: those that zscale takes.
std::string formats_for(const AVFrame& picture, Family family) {
  if (family == Family::Rgb) return "gbrp|gbrp10|gbrp12|gbrp16";
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  // zscale wants sizes that chroma divides.
  const bool odd = picture.width % (1 << format->log2_chroma_w) || picture.height % (1 << format->log2_chroma_h);
  if (odd) return "yuv444p|yuv444p10|yuv444p12|yuv444p16";
  return "yuv420p|yuv422p|yuv444p|yuv440p|yuv411p|yuv410p|yuv420p10|yuv422p10|yuv444p10|yuv420p12|yuv422p12|yuv444p12|"
         "yuv420p16|yuv422p16|yuv444p16";
}

std::string zscale_from(const AVFrame& picture, const Tags& tags, PictureKind kind) {
  int chroma = picture.chroma_location;
  if (chroma == AVCHROMA_LOC_UNSPECIFIED) chroma = kind == PictureKind::Image ? AVCHROMA_LOC_CENTER : AVCHROMA_LOC_LEFT;
  const bool full = tags.family == Family::Rgb || full_range(picture);
  return "format=" + formats_for(picture, tags.family) + ",zscale=filter=bicubic:min=" + std::to_string(tags.matrix) +
         ":pin=" + std::to_string(tags.primaries) + ":tin=" + std::to_string(tags.transfer) +
         ":rin=" + (full ? "full" : "limited") + ":cin=" + std::to_string(chroma - AVCHROMA_LOC_LEFT) +
         ":m=gbr:r=full:p=";
}

// Light up to 0.3 of white stays as it is, what is brighter is bent so that the peak becomes white.
std::string tone_mapping(int transfer, double peak_nits) {
  const std::string peak = std::to_string(std::clamp(peak_nits, kReferenceWhite, 10'000.0) / kReferenceWhite);
  // Only its exact way bends HLG by the light of all three channels, as BT.2100 has it.
  const std::string exact = transfer == AVCOL_TRC_ARIB_STD_B67 ? ":agamma=false" : "";
  return "709:t=linear:npl=203" + exact + ",format=gbrpf32le,tonemap=mobius:desat=0:peak=" + peak +
         ",zscale=min=gbr:pin=709:tin=linear:rin=full:m=gbr:p=709:t=709:r=full,format=gbrp";
}

std::string gamut_name(int primaries) {
  switch (primaries) {
    case AVCOL_PRI_BT2020:
      return "BT.2020";
    case AVCOL_PRI_SMPTE431:
      return "DCI-P3";
    case AVCOL_PRI_SMPTE432:
      return "Display P3";
  }
  return name_or_number(av_color_primaries_name(AVColorPrimaries(primaries)), primaries);
}

double peak_of(const AVFrame& picture) {
  auto data = [&](AVFrameSideDataType type) -> const void* {
    const AVFrameSideData* found = av_frame_get_side_data(&picture, type);
    return found ? found->data : nullptr;
  };
  return stated_peak(data(AV_FRAME_DATA_CONTENT_LIGHT_LEVEL), data(AV_FRAME_DATA_MASTERING_DISPLAY_METADATA));
}

Colours tone_mapped(const AVFrame& picture, const Tags& tags, PictureKind kind, double peak_nits) {
  double peak = peak_nits > 0 ? peak_nits : peak_of(picture);
  if (peak <= 0) peak = kUsualPeak;
  const std::string curve = tags.transfer == AVCOL_TRC_SMPTE2084 ? "PQ" : "HLG";
  return {.filters = zscale_from(picture, tags, kind) + tone_mapping(tags.transfer, peak),
          .peak_nits = peak,
          .told = "the video is HDR (" + curve + ", " + gamut_name(tags.primaries) +
                  "): it is tone-mapped to SDR (BT.709), for a peak of " + std::to_string(std::llround(peak)) + " nits",
          .change = "an SDR version of the video is read without tone mapping"};
}

Colours converted(const AVFrame& picture, const Tags& tags, PictureKind kind) {
  const bool video = kind == PictureKind::Video, wide = video && is_wide(tags.primaries);
  const bool curve = video && is_linear_or_log(tags.transfer);
  Colours colours{.filters = zscale_from(picture, tags, kind) + (wide ? "709" : std::to_string(tags.primaries)) +
                             ":t=" + std::to_string(wide || curve ? int(AVCOL_TRC_BT709) : tags.transfer) +
                             ",format=gbrp"};
  if (curve) {
    colours.told = "the video's levels are " +
                   name_or_number(av_color_transfer_name(AVColorTransferCharacteristic(tags.transfer)), tags.transfer) +
                   ": they are converted to BT.709";
  } else if (wide) {
    colours.told = "the video has the wide colours of " + gamut_name(tags.primaries) +
                   ": they are converted to BT.709, and clipped where that has none";
  } else if (video && tags.primaries_assumed && tags.matrix != AVCOL_SPC_YCGCO) {
    colours.told = "the video does not state the primaries that its colour matrix is made of: BT.709 is assumed";
  }
  return colours;
}

}  // namespace

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

double stated_peak(const void* light, const void* display) {
  const auto* content = static_cast<const AVContentLightMetadata*>(light);
  if (content && content->MaxCLL > 0) return content->MaxCLL;
  const auto* mastering = static_cast<const AVMasteringDisplayMetadata*>(display);
  const bool has = mastering && mastering->has_luminance && mastering->max_luminance.den > 0;
  return has ? std::max(0.0, av_q2d(mastering->max_luminance)) : 0;
}

Colours colours_of(const AVFrame& picture, PictureKind kind, double peak_nits, bool (*has)(const std::string&)) {
  const Tags tags = tags_of(picture, kind);
  check_matrix(tags.matrix);
  const bool video = kind == PictureKind::Video && tags.family != Family::Other, hdr = video && is_hdr(tags.transfer);
  const bool odd_matrix = zscale_has(tags.matrix);
  const bool odd_colours = video && (is_wide(tags.primaries) || is_linear_or_log(tags.transfer));
  Colours colours;
  if (hdr) {
    check_filters("HDR colours", true, has);
    colours = tone_mapped(picture, tags, kind, peak_nits);
  } else if (odd_matrix || odd_colours) {
    check_filters(odd_matrix ? std::string("the colour matrix ") + av_color_space_name(AVColorSpace(tags.matrix))
                             : "colours other than BT.709",
                  false, has);
    colours = converted(picture, tags, kind);
  }
  colours.matrix = tags.matrix == AVCOL_SPC_RGB ? int(AVCOL_SPC_SMPTE170M) : tags.matrix;  // without effect on RGB
  if (tags.matrix_assumed && colours.told.empty()) {
    const char* assumed = tags.matrix == AVCOL_SPC_BT709 ? "BT.709" : "BT.601";
    colours.told.append("the video does not state its colour matrix: ").append(assumed);
    colours.told += " is assumed, as players do at its size";
    colours.change = "a file that states its matrix is read with that";
  }
  return colours;
}

}  // namespace wan::av
