#include "engine/media/image_reader.h"

#include <ATen/ATen.h>

#include <fstream>
#include <future>

#include "engine/media/av_picture.h"
#include "engine/media/gif_file.h"
#include "engine/media/heif.h"
#include "engine/media/inflated.h"
#include "engine/media/jpeg.h"
#include "engine/media/jpeg2000.h"
#include "engine/media/orientation.h"
#include "engine/media/png_file.h"
#include "engine/media/tiff.h"
#include "engine/media/webp_file.h"
#include "models/files/foreign.h"

namespace wan {
namespace {

using av::Source;

std::string read_file(const Source& source) {
  std::string bytes(size_t(av::checked_size(source, kMostImageBytes)), '\0');
  std::ifstream file(source.file.path, std::ios::binary);
  if (!file.read(bytes.data(), std::streamsize(bytes.size()))) source.refuse("it cannot be read");
  return bytes;
}

Picture decode(const Source& source, AVCodecID codec, Bytes file) {
  return av::decode_picture(source, codec, file, kMostImagePixels);
}

Picture read_jpeg_picture(const Source& source, Bytes file) {
  const JpegFile jpeg = read_jpeg(file);
  if (jpeg.picture.empty()) source.refuse("it is truncated");
  if (jpeg.frame > 0xC2 || jpeg.bits != 8) {
    source.refuse(jpeg.bits != 8 ? "a JPEG of " + std::to_string(jpeg.bits) + " bits a channel; save it as PNG"
                                 : "a lossless or arithmetic-coded JPEG; save it as PNG");
  }
  Picture picture = decode(source, AV_CODEC_ID_MJPEG, jpeg.picture);
  picture.orientation = exif_orientation(jpeg.exif);
  picture.profile = jpeg.profile;
  picture.cmyk = jpeg.components == 4;
  return picture;
}

Picture read_png_picture(const Source& source, Bytes file) {
  const PngFile png = read_png(file);
  if (!png.wrong.empty()) source.refuse(png.wrong);
  // Beside the decoder, which it would slow down by half.
  auto whole = std::async([&] { return inflates_to(png.data, png.data_bytes); });
  Picture picture = decode(source, AV_CODEC_ID_PNG, png.picture);
  if (!whole.get()) source.refuse("it is damaged or truncated");
  picture.orientation = exif_orientation(png.exif);
  if (!png.profile.empty()) picture.profile = png.profile;
  picture.transparent |= png.transparent;
  picture.more = png.animated;
  picture.transfer = png.transfer;
  picture.primaries = png.primaries;
  picture.gamma = png.gamma;
  picture.profile_lost = png.profile_lost;
  return picture;
}

at::Tensor on_canvas(const Source& source, const WebpFile& webp, const at::Tensor& frame) {
  const int64_t height = webp.canvas_height, width = webp.canvas_width;
  if (!webp.animated || (frame.size(0) == height && frame.size(1) == width)) return frame;
  if (height * width > kMostImagePixels || webp.top + frame.size(0) > height || webp.left + frame.size(1) > width) {
    source.refuse("an animated WebP whose first frame does not fit its canvas");
  }
  at::Tensor canvas = at::zeros({height, width, 3}, at::kByte);
  canvas.narrow(0, webp.top, frame.size(0)).narrow(1, webp.left, frame.size(1)).copy_(frame);
  return canvas;
}

Picture read_webp_picture(const Source& source, Bytes file) {
  const WebpFile webp = read_webp(file);
  if (!webp.wrong.empty()) source.refuse(webp.wrong);
  Picture picture = decode(source, AV_CODEC_ID_WEBP, webp.picture);
  picture.rgb = on_canvas(source, webp, picture.rgb);
  picture.orientation = exif_orientation(webp.exif);
  picture.transparent |= webp.transparent;
  picture.profile = webp.profile;
  picture.more = webp.animated;
  return picture;
}

Picture read_jpeg2000_picture(const Source& source, Bytes file) {
  const Jpeg2000 jpeg = read_jpeg2000(file);
  if (!jpeg.wrong.empty()) source.refuse(jpeg.wrong);
  Picture picture = decode(source, AV_CODEC_ID_JPEG2000, file);
  picture.profile = jpeg.profile;
  return picture;
}

Picture read_gif_picture(const Source& source, Bytes file) {
  const GifFile gif = read_gif(file);
  if (!gif.whole) source.refuse("it is truncated");
  Picture picture = decode(source, AV_CODEC_ID_GIF, file);
  picture.white_under = true;
  picture.more = gif.animated;
  return picture;
}

// What people hand in where a picture is wanted, and what they can do.
std::string other_kind(Bytes file) {
  const Bytes begin = from(file, 0, 4096);
  const bool drawing = starts_with(begin, "<svg") || (starts_with(begin, "<?xml") && begin.find("<svg") != Bytes::npos);
  if (drawing) return "an SVG drawing; save it as PNG";
  if (const std::string found = stand_in(begin); !found.empty()) return "it " + found;
  constexpr Bytes kVideo = "a video";
  const struct {
    size_t at;
    Bytes mark, kind;
  } kinds[] = {{0, "\xFF\x0A", "a JPEG XL picture"},
               {4, "JXL ", "a JPEG XL picture"},
               {0, "8BPS", "a Photoshop file"},
               {0, "gimp xcf", "a GIMP file"},
               {0, "%PDF", "a PDF"},
               {0, Bytes("\0\0\1\0", 4), "an icon"},
               {0, "qoif", "a QOI picture"},
               {0, "DDS ", "a DDS texture"},
               {0, "\x76\x2F\x31\x01", "an OpenEXR picture"},
               {0, "#?RADIANCE", "a Radiance HDR picture"},
               {8, "crx ", "a camera's raw file"},
               {4, "ftyp", kVideo},
               {0, "\x1A\x45\xDF\xA3", kVideo}};
  for (const auto& kind : kinds) {
    if (from(file, kind.at, kind.mark.size()) != kind.mark) continue;
    return std::string(kind.kind) +
           (kind.kind == kVideo ? "; v2v takes videos, or save a frame of it" : "; save it as PNG");
  }
  const std::string found = foreign_content(begin, Content::Binary);
  return found.empty() ? "none of these by its first bytes" : "it " + found;
}

Picture read_picture(const Source& source, Bytes file) {
  if (starts_with(file, "\x89PNG\r\n\x1A\n")) return read_png_picture(source, file);
  if (starts_with(file, "\xFF\xD8\xFF")) return read_jpeg_picture(source, file);
  if (is_webp(file)) return read_webp_picture(source, file);
  if (starts_with(file, "GIF87a") || starts_with(file, "GIF89a")) return read_gif_picture(source, file);
  if (is_tiff(file)) return read_tiff(source, file, kMostImagePixels);
  if (is_heif(file)) return read_heif(source, file, kMostImagePixels);
  if (is_jpeg2000(file)) return read_jpeg2000_picture(source, file);
  if (starts_with(file, "BM")) return decode(source, AV_CODEC_ID_BMP, file);
  source.refuse(other_kind(file));
}

}  // namespace

at::Tensor read_image(const MediaFile& input, Notes* notes) {
  av::silence();
  const Source source{input, reads_heif() ? "an image (PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, HEIC, JPEG 2000)"
                                          : "an image (PNG, JPEG, WebP, BMP, TIFF, GIF, JPEG 2000)"};
  const Picture picture = read_picture(source, read_file(source));
  if (notes) tell(picture, input.field, *notes);
  return upright(picture.rgb, picture.orientation);
}

}  // namespace wan
