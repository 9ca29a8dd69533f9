// TIFF: every way of storing the same pixels gives them, and what would come out wrong is refused.
#include <tiffio.h>

#include <functional>
#include <memory>

#include "engine/media/image_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

struct Way {
  uint16_t compression = COMPRESSION_NONE, bits = 8, photometric = PHOTOMETRIC_RGB;
  uint16_t predictor = 1;
  bool tiles = false, planes = false;
  std::function<void(TIFF*)> tags = [](TIFF*) {};
};

using File = std::unique_ptr<TIFF, void (*)(TIFF*)>;

/// samples: uint8 [h, w, c], multiplied to the bits of `way`.
void write_tiff(const std::string& path, const at::Tensor& samples, const Way& way, const char* mode = "w") {
  const int64_t height = samples.size(0), width = samples.size(1), all = samples.size(2);
  File file(TIFFOpen(path.c_str(), mode), TIFFClose);
  ASSERT_TRUE(file);
  TIFF* tiff = file.get();
  for (auto [tag, value] : {std::pair(TIFFTAG_IMAGEWIDTH, width), {TIFFTAG_IMAGELENGTH, height}}) {
    TIFFSetField(tiff, uint32_t(tag), uint32_t(value));
  }
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, int(way.bits));
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, int(all));
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, int(way.photometric));
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, int(way.compression));
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, way.planes ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  if (way.predictor != 1) TIFFSetField(tiff, TIFFTAG_PREDICTOR, int(way.predictor));
  const int64_t rows = way.tiles ? 16 : 5, columns = way.tiles ? 16 : width;
  if (way.tiles) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 16);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, 16);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5);
  }
  way.tags(tiff);
  uint32_t number = 0;
  for (int64_t plane = 0; plane < (way.planes ? all : 1); ++plane) {
    for (int64_t y = 0; y < height; y += rows) {
      for (int64_t x = 0; x < width; x += columns) {
        const int64_t h = std::min(rows, height - y), w = std::min(columns, width - x);
        at::Tensor piece = at::zeros({way.tiles ? rows : h, columns, all}, at::kByte);
        piece.narrow(0, 0, h).narrow(1, 0, w).copy_(samples.narrow(0, y, h).narrow(1, x, w));
        if (way.planes) piece = piece.select(2, plane);
        piece = way.bits == 16 ? piece.to(at::kInt).mul(257).to(at::kUInt16).contiguous() : piece.contiguous();
        const auto size = tmsize_t(piece.nbytes());
        if (way.tiles) TIFFWriteEncodedTile(tiff, number++, piece.data_ptr(), size);
        if (!way.tiles) TIFFWriteEncodedStrip(tiff, number++, piece.data_ptr(), size);
      }
    }
  }
}

at::Tensor picture() {
  return moving_picture(1, 20, 37)[0];
}

TEST(ReadTiff, EveryWayOfStoringGivesTheSamePixels) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string();
  int ways = 0;
  for (uint16_t compression : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS,
                               COMPRESSION_ZSTD, COMPRESSION_LZMA}) {
    if (!TIFFIsCODECConfigured(compression)) continue;
    const bool predicts = compression != COMPRESSION_NONE && compression != COMPRESSION_PACKBITS;
    for (uint16_t bits : {8, 16}) {
      for (uint16_t predictor : {1, 2}) {
        for (int layout = 0; layout < 8 && (predictor == 1 || predicts); ++layout) {
          Way way{.compression = compression, .bits = bits, .predictor = predictor};
          way.tiles = layout & 1;
          way.planes = layout & 2;
          write_tiff(path, picture(), way, layout & 4 ? "wb" : "wl");  // either order of bytes
          EXPECT_EQ(max_abs_difference(read_image({path, "image_url"}), picture()), 0)
              << compression << " " << bits << " " << predictor << " " << layout;
          ++ways;
        }
      }
    }
  }
  EXPECT_GT(ways, 100);
}

TEST(ReadTiff, GivesColoursOfEveryKind) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string();
  const at::Tensor rgb = picture(), grey = rgb.narrow(2, 0, 1).contiguous();
  auto expect = [&](const at::Tensor& samples, Way way, const at::Tensor& want) {
    SCOPED_TRACE(way.photometric);
    for (bool tiles : {false, true}) {
      way.tiles = tiles;
      write_tiff(path, samples, way);
      EXPECT_EQ(max_abs_difference(read_image({path, "image_url"}), want.expand_as(rgb)), 0) << tiles;
    }
  };
  expect(grey, {.photometric = PHOTOMETRIC_MINISBLACK}, grey);
  expect(255 - grey, {.photometric = PHOTOMETRIC_MINISWHITE}, grey);
  uint16_t map[3][256];
  for (int i = 0; i < 256; ++i) map[0][i] = uint16_t(i << 8), map[1][i] = uint16_t((255 - i) << 8), map[2][i] = 7 << 8;
  expect(grey,
         {.photometric = PHOTOMETRIC_PALETTE,
          .tags = [&](TIFF* file) { TIFFSetField(file, TIFFTAG_COLORMAP, map[0], map[1], map[2]); }},
         at::cat({grey, 255 - grey, at::full_like(grey, 7)}, 2));
  const at::Tensor black = at::full_like(grey, 55);
  expect(at::cat({255 - rgb, black}, 2), {.photometric = PHOTOMETRIC_SEPARATED},
         (rgb.to(at::kDouble) * 200 / 255).round().to(at::kByte));
  auto extra = [](uint16_t kind) { return [kind](TIFF* file) { TIFFSetField(file, TIFFTAG_EXTRASAMPLES, 1, &kind); }; };
  expect(at::cat({rgb, black}, 2), {.tags = extra(EXTRASAMPLE_UNASSALPHA)}, rgb);
  expect(at::cat({rgb, black}, 2), {.planes = true, .tags = extra(EXTRASAMPLE_UNSPECIFIED)}, rgb);
  // Colours that are multiplied with their alpha are divided by it, as Pillow does.
  expect(at::cat({rgb.div(5, "floor"), at::full_like(grey, 51)}, 2), {.tags = extra(EXTRASAMPLE_ASSOCALPHA)},
         rgb.div(5, "floor") * 5);
}

TEST(ReadTiff, TurnsWhatIsStoredTurned) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string();
  write_tiff(path, picture(), {.compression = COMPRESSION_LZW, .tiles = true, .tags = [](TIFF* file) {
                                 TIFFSetField(file, TIFFTAG_ORIENTATION, ORIENTATION_RIGHTTOP);
                               }});
  EXPECT_EQ(max_abs_difference(read_image({path, "image_url"}), picture().transpose(0, 1).flip({1})), 0);
}

TEST(ReadTiff, TakesTheFirstPageAndSaysSo) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string();
  write_tiff(path, picture(), {});
  EXPECT_EQ(picture_notes(path), std::vector<std::string>{});
  write_tiff(path, 255 - picture(), {}, "a");
  EXPECT_EQ(max_abs_difference(read_image({path, "image_url"}), picture()), 0);
  EXPECT_EQ(picture_notes(path), std::vector<std::string>{"the file holds more than one picture; the first is used"});
}

TEST(ReadTiff, RefusesWhatWouldComeOutWrong) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string();
  auto refuse = [&](uint32_t tag, int value, const std::string& word, Way way = {}) {
    way.tags = [&](TIFF* file) { TIFFSetField(file, tag, value); };
    write_tiff(path, picture(), way);
    expect_picture_refused(path, word + "; save it as PNG");
  };
  refuse(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_INT, "SampleFormat (tag 339) is 2 (samples with a sign, or complex)");
  refuse(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP, "SampleFormat (tag 339) is 3 (floating-point samples)",
         {.bits = 16});
  refuse(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_CIELAB, "PhotometricInterpretation (tag 262) is 8, which is not read");
  refuse(TIFFTAG_SUBFILETYPE, FILETYPE_REDUCEDIMAGE,
         "NewSubfileType (tag 254) is 1 (a preview or mask, as in camera raw files)");
  // A compression that is not known: its number stands behind the tag, 16 bits and a count before it.
  write_tiff(path, picture(), {});
  std::string bytes = bytes_of(path);
  const size_t at = bytes.find(std::string("\x03\x01\x03\x00\x01\x00\x00\x00", 8));
  ASSERT_NE(at, bytes.npos);
  bytes[at + 8] = 99;
  write_bytes(path, bytes);
  expect_picture_refused(path, "Compression (tag 259) is 99, which is not read; save it as PNG");
}

// A grey picture of 16x16 in one strip, its directory before the pixels.
std::string small_tiff() {
  std::string bytes("II*\0\x08\0\0\0\x08\0", 10);
  auto add = [&](uint32_t value, int width) {
    for (int i = 0; i < width; ++i) bytes += char(value >> 8 * i);
  };
  const std::pair<uint32_t, uint32_t> tags[] = {{256, 16}, {257, 16},  {258, 8},  {259, 1},
                                                {262, 1},  {273, 110}, {278, 16}, {279, 256}};
  for (auto [tag, value] : tags) {
    add(tag, 2);
    add(4, 2);
    add(1, 4);
    add(value, 4);
  }
  add(0, 4);
  return bytes + std::string(256, 'x');
}

TEST(ReadTiff, RefusesHalfAPicture) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.tif").string(), whole = small_tiff();
  write_bytes(path, whole);
  EXPECT_EQ(max_abs_difference(read_image({path, "image_url"}), at::full({16, 16, 3}, 'x', at::kByte)), 0);
  for (size_t cut : {1, 100, 255}) {
    write_bytes(path, whole.substr(0, whole.size() - cut));
    expect_picture_refused(path, "it is truncated");
  }
  write_bytes(path, whole.substr(0, 60));
  expect_picture_refused(path, "it is damaged or truncated");
}

}  // namespace
}  // namespace wan
