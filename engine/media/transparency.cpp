#include "engine/media/transparency.h"

#include <algorithm>
#include <cstring>

namespace wan::av {
namespace {

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

}  // namespace

bool has_transparency(const AVFrame& picture) {
  const AVPixFmtDescriptor* found = av_pix_fmt_desc_get(AVPixelFormat(picture.format));
  if (!found) return false;
  const AVPixFmtDescriptor& format = *found;
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

}  // namespace wan::av
