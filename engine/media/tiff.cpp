#include "engine/media/tiff.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "engine/media/tiff_colour.h"
#include "engine/media/tiff_memory.h"

namespace wan {
namespace {

constexpr const char* kWayOut = "; save it as PNG";

template <typename T>
T value_of(TIFF* file, uint32_t tag, T otherwise = 0) {
  T value = otherwise;
  return TIFFGetFieldDefaulted(file, tag, &value) ? value : otherwise;
}

/// The first page: what its tags say, checked, and its pixels.
class Page {
 public:
  Page(const av::Source& source, Bytes bytes, TIFF* file, int64_t most_pixels) : source_(source), file_(file) {
    check_size(most_pixels);
    check_kind();
    check_samples();
    check_pieces(bytes);
  }

  Picture read() {
    Picture picture{.rgb = at::empty({height_, width_, 3}, at::kByte),
                    .orientation = value_of<uint16_t>(file_, TIFFTAG_ORIENTATION, 1),
                    .bits = bits_,
                    .cmyk = photometric_ == PHOTOMETRIC_SEPARATED};
    if (photometric_ == PHOTOMETRIC_YCBCR) {
      read_by_library(picture.rgb);
    } else {
      read_pieces(picture.rgb);
    }
    picture.transparent = transparent_;
    uint32_t size = 0;
    void* profile = nullptr;
    if (TIFFGetField(file_, TIFFTAG_ICCPROFILE, &size, &profile)) {
      picture.profile.assign(static_cast<const char*>(profile), size);
    }
    // Reduced copies and masks follow many pictures; they are no pages.
    picture.more = TIFFReadDirectory(file_) && value_of<uint32_t>(file_, TIFFTAG_SUBFILETYPE) <= FILETYPE_PAGE &&
                   !(value_of<uint32_t>(file_, TIFFTAG_SUBFILETYPE) & FILETYPE_REDUCEDIMAGE);
    return picture;
  }

 private:
  [[noreturn]] void refuse(const std::string& name, uint32_t tag, const std::string& value) const {
    source_.refuse("a TIFF whose " + name + " (tag " + std::to_string(tag) + ") is " + value + kWayOut);
  }

  void check_size(int64_t most_pixels) {
    width_ = value_of<uint32_t>(file_, TIFFTAG_IMAGEWIDTH);
    height_ = value_of<uint32_t>(file_, TIFFTAG_IMAGELENGTH);
    if (width_ == 0 || height_ == 0) source_.refuse("it is damaged: it has no size");
    if (width_ > most_pixels || height_ > most_pixels || width_ * height_ > most_pixels) {
      source_.refuse("it has " + std::to_string(width_) + "x" + std::to_string(height_) + " pixels, at most " +
                     std::to_string(most_pixels / 1'000'000) + " million are read");
    }
  }

  void check_kind() {
    // A camera's raw file begins with a small preview; its picture lies elsewhere and is not made of colours.
    void* version = nullptr;
    if (TIFFGetField(file_, TIFFTAG_DNGVERSION, &version)) refuse("DNGVersion", TIFFTAG_DNGVERSION, "set (camera raw)");
    const auto type = value_of<uint32_t>(file_, TIFFTAG_SUBFILETYPE);
    if (type & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) {
      refuse("NewSubfileType", TIFFTAG_SUBFILETYPE,
             std::to_string(type) + " (a preview or mask, as in camera raw files)");
    }
    for (uint32_t tag : {TIFFTAG_IMAGEDEPTH, TIFFTAG_TILEDEPTH}) {
      if (value_of<uint32_t>(file_, tag, 1) != 1) refuse("depth", tag, "above 1 (a volume)");
    }
    static const std::set<uint16_t> read = {COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
                                            COMPRESSION_CCITTFAX4,     COMPRESSION_LZW,      COMPRESSION_JPEG,
                                            COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,  COMPRESSION_PACKBITS,
                                            COMPRESSION_CCITTRLEW,     COMPRESSION_LZMA,     COMPRESSION_ZSTD,
                                            COMPRESSION_WEBP};
    compression_ = value_of<uint16_t>(file_, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    if (!read.count(compression_) || !TIFFIsCODECConfigured(compression_)) {
      refuse("Compression", TIFFTAG_COMPRESSION, std::to_string(compression_) + ", which is not read");
    }
  }

  void check_samples() {
    bits_ = value_of<uint16_t>(file_, TIFFTAG_BITSPERSAMPLE, 1);
    samples_ = value_of<uint16_t>(file_, TIFFTAG_SAMPLESPERPIXEL, 1);
    separate_ = samples_ > 1 && value_of<uint16_t>(file_, TIFFTAG_PLANARCONFIG, 1) == PLANARCONFIG_SEPARATE;
    const auto format = value_of<uint16_t>(file_, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) {
      const bool real = format == SAMPLEFORMAT_IEEEFP;
      refuse("SampleFormat", TIFFTAG_SAMPLEFORMAT,
             std::to_string(format) + (real ? " (floating-point samples)" : " (samples with a sign, or complex)"));
    }
    if (bits_ < 1 || bits_ > 16)
      refuse("BitsPerSample", TIFFTAG_BITSPERSAMPLE, std::to_string(bits_) + ", at most 16 are read");
    if (!TIFFGetField(file_, TIFFTAG_PHOTOMETRIC, &photometric_)) photometric_ = PHOTOMETRIC_MINISBLACK;
    if (photometric_ == PHOTOMETRIC_YCBCR && compression_ == COMPRESSION_JPEG && !separate_) {
      TIFFSetField(file_, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      photometric_ = PHOTOMETRIC_RGB;
    }
    settle_colour();
    if (samples_ < colour_.samples() || samples_ > 64) {
      refuse("SamplesPerPixel", TIFFTAG_SAMPLESPERPIXEL, std::to_string(samples_) + ", which does not fit its colours");
    }
    settle_alpha();
  }

  void settle_colour() {
    colour_.bits = bits_;
    switch (photometric_) {
      case PHOTOMETRIC_MINISWHITE:
        colour_.kind = TiffColour::Kind::InvertedGrey;
        break;
      case PHOTOMETRIC_MINISBLACK:
        colour_.kind = TiffColour::Kind::Grey;
        break;
      case PHOTOMETRIC_RGB:
        break;
      case PHOTOMETRIC_PALETTE:
        colour_.kind = TiffColour::Kind::Palette;
        read_palette();
        break;
      case PHOTOMETRIC_SEPARATED:
        colour_.kind = TiffColour::Kind::Cmyk;
        if (value_of<uint16_t>(file_, TIFFTAG_INKSET, INKSET_CMYK) != INKSET_CMYK) {
          refuse("InkSet", TIFFTAG_INKSET, "not CMYK");
        }
        break;
      case PHOTOMETRIC_YCBCR:
        if (bits_ == 8) break;
        refuse("BitsPerSample", TIFFTAG_BITSPERSAMPLE, std::to_string(bits_) + " of YCbCr");
      default:
        refuse("PhotometricInterpretation", TIFFTAG_PHOTOMETRIC, std::to_string(photometric_) + ", which is not read");
    }
  }

  void read_palette() {
    uint16_t* map[3] = {};
    if (!TIFFGetField(file_, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2])) source_.refuse("it is damaged: no palette");
    const size_t entries = size_t(1) << bits_;
    // Of 16 bits; some writers give 8.
    bool wide = false;
    for (const uint16_t* colour : map) wide |= std::any_of(colour, colour + entries, [](int v) { return v > 255; });
    for (size_t i = 0; i < entries; ++i) {
      for (const uint16_t* colour : map) colour_.palette.push_back(uint8_t(wide ? colour[i] >> 8 : colour[i]));
    }
  }

  void settle_alpha() {
    uint16_t count = 0;
    uint16_t* kinds = nullptr;
    if (!TIFFGetField(file_, TIFFTAG_EXTRASAMPLES, &count, &kinds) || count == 0 || !kinds) return;
    colour_.alpha = kinds[0] != EXTRASAMPLE_UNSPECIFIED && samples_ > colour_.samples();
    colour_.premultiplied = colour_.alpha && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  }

  // A decoder fills up what a cut file lacks.
  void check_pieces(Bytes bytes) {
    const uint32_t count = TIFFIsTiled(file_) ? TIFFNumberOfTiles(file_) : TIFFNumberOfStrips(file_);
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t at = TIFFGetStrileOffset(file_, i), size = TIFFGetStrileByteCount(file_, i);
      if (at == 0 || size == 0) source_.refuse("it is damaged: a part of its pixels is missing");
      if (at > bytes.size() || size > bytes.size() - at) source_.refuse("it is truncated");
    }
  }

  void read_pieces(at::Tensor& rgb) {
    const bool tiled = TIFFIsTiled(file_);
    const int64_t rows = tiled ? value_of<uint32_t>(file_, TIFFTAG_TILELENGTH)
                               : value_of<uint32_t>(file_, TIFFTAG_ROWSPERSTRIP, uint32_t(height_));
    const int64_t columns = tiled ? value_of<uint32_t>(file_, TIFFTAG_TILEWIDTH) : width_;
    if (rows == 0 || columns == 0) source_.refuse("it is damaged");
    for (int64_t y = 0; y < height_; y += rows) {
      for (int64_t x = 0; x < width_; x += columns) {
        read_piece(rgb, x, y, std::min(columns, width_ - x), std::min(rows, height_ - y));
      }
    }
  }

  // The part of a strip or tile that lies in the picture.
  void read_piece(at::Tensor& rgb, int64_t x, int64_t y, int64_t width, int64_t height) {
    const int64_t used = colour_.samples(), planes = separate_ ? used : 1;
    std::vector<std::vector<uint8_t>> packed;
    for (int64_t plane = 0; plane < planes; ++plane) packed.push_back(read_plane(x, y, height, uint16_t(plane)));
    const int64_t row_bytes = TIFFIsTiled(file_) ? TIFFTileRowSize(file_) : TIFFScanlineSize(file_);
    const int64_t stride = separate_ ? used : samples_;
    std::vector<uint16_t> row(size_t(width * stride));
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t plane = 0; plane < planes; ++plane) {
        const uint8_t* from_row = packed[size_t(plane)].data() + i * row_bytes;
        unpack_samples(from_row, separate_ ? width : width * samples_, bits_, row.data() + plane, separate_ ? used : 1);
      }
      for (int64_t j = 0; stride > used && j < width; ++j)
        std::copy_n(&row[size_t(j * stride)], used, &row[size_t(j * used)]);
      transparent_ |= colour_.to_rgb(row.data(), width, rgb.data_ptr<uint8_t>() + ((y + i) * width_ + x) * 3);
    }
  }

  std::vector<uint8_t> read_plane(int64_t x, int64_t y, int64_t height, uint16_t plane) {
    const bool tiled = TIFFIsTiled(file_);
    const int64_t size = tiled ? TIFFTileSize(file_) : TIFFVStripSize(file_, uint32_t(height));
    // Tiles may reach over the picture's edges, but not by far.
    const int64_t most = std::max<int64_t>(64 << 20, 4 * width_ * height_ * samples_ * 2);
    if (size <= 0 || size > most) source_.refuse(std::string("a strip or tile of it is too large") + kWayOut);
    std::vector<uint8_t> packed(static_cast<size_t>(size));
    const int64_t got =
        tiled ? TIFFReadEncodedTile(file_, TIFFComputeTile(file_, uint32_t(x), uint32_t(y), 0, plane), packed.data(),
                                    size)
              : TIFFReadEncodedStrip(file_, TIFFComputeStrip(file_, uint32_t(y), plane), packed.data(), size);
    if (got != size) source_.refuse("it is damaged or truncated");
    return packed;
  }

  void read_by_library(at::Tensor& rgb) {
    char why[1024] = {};
    TIFFRGBAImage image;
    if (!TIFFRGBAImageOK(file_, why) || !TIFFRGBAImageBegin(&image, file_, 1, why)) {
      refuse("PhotometricInterpretation", TIFFTAG_PHOTOMETRIC,
             std::to_string(photometric_) + " in a form that is not read");
    }
    image.orientation = image.req_orientation = ORIENTATION_TOPLEFT;  // turned later, as every other picture
    std::vector<uint32_t> raster(size_t(width_ * height_));
    const bool whole = TIFFRGBAImageGet(&image, raster.data(), uint32_t(width_), uint32_t(height_));
    TIFFRGBAImageEnd(&image);
    if (!whole) source_.refuse("it is damaged or truncated");
    auto* out = rgb.data_ptr<uint8_t>();
    for (uint32_t pixel : raster) {
      *out++ = uint8_t(TIFFGetR(pixel));
      *out++ = uint8_t(TIFFGetG(pixel));
      *out++ = uint8_t(TIFFGetB(pixel));
    }
  }

  const av::Source& source_;
  TIFF* file_;
  int64_t width_ = 0, height_ = 0;
  int bits_ = 8;
  uint16_t samples_ = 1, photometric_ = 0, compression_ = COMPRESSION_NONE;
  bool separate_ = false, transparent_ = false;
  TiffColour colour_;
};

}  // namespace

bool is_tiff(Bytes file) {
  for (Bytes mark : {Bytes("II*\0", 4), Bytes("MM\0*", 4), Bytes("II+\0", 4), Bytes("MM\0+", 4)}) {
    if (starts_with(file, mark)) return true;
  }
  return false;
}

Picture read_tiff(const av::Source& source, Bytes file, int64_t most_pixels) {
  if (from(file, 8, 2) == "CR") source.refuse(std::string("a camera's raw file") + kWayOut);
  TiffMemory memory{file};
  const TiffHandle tiff = open_tiff(memory);
  if (!tiff) source.refuse("it is damaged or truncated");
  return Page(source, file, tiff.get(), most_pixels).read();
}

}  // namespace wan
