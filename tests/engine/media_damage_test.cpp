// Pictures with more, less or other bytes than their format asks for: what does not touch the pixels does not matter.
#include <zlib.h>

#include "engine/base/error.h"
#include "engine/media/image_reader.h"
#include "engine/media/video_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

class PictureDamage : public ::testing::Test {
 protected:
  at::Tensor read(const std::string& bytes) {
    write_bytes(path_, bytes);
    return read_image({path_, "image_url"});
  }
  void expect_same(const std::string& bytes, const std::string& whole) {
    if (whole != whole_) picture_ = read(whole);
    whole_ = whole;
    EXPECT_EQ(max_abs_difference(read(bytes), picture_), 0);
  }
  void expect_refused(const std::string& bytes, const std::string& word) {
    write_bytes(path_, bytes);
    expect_picture_refused(path_, word);
  }

  TemporaryFolder folder_;
  const std::string path_ = (folder_ / "picture").string();

 private:
  std::string whole_;
  at::Tensor picture_;
};

std::string big_endian(size_t value, int width) {
  std::string bytes;
  while (width-- > 0) bytes += char(value >> 8 * width);
  return bytes;
}

// --- JPEG

/// `count` fill bytes before each marker of a file whose segments stand before its only scan.
std::string filled(const std::string& jpeg, size_t count) {
  const std::string fill(count, '\xFF');
  std::string out = jpeg.substr(0, 2);
  size_t at = 2;
  for (bool scan = false; !scan;) {
    const size_t length = 2 + size_t(uint8_t(jpeg[at + 2])) * 256 + uint8_t(jpeg[at + 3]);
    scan = jpeg[at + 1] == '\xDA';
    out += fill + jpeg.substr(at, length);
    at += length;
  }
  return out + jpeg.substr(at, jpeg.size() - 2 - at) + fill + "\xFF\xD9";
}

TEST_F(PictureDamage, JpegTakesBytesBehindItsEndAndFillBytes) {
  for (const char* name : {"orientation6.jpg", "cmyk.jpg", "grey.jpg"}) {
    SCOPED_TRACE(name);
    const std::string whole = bytes_of(media_file(name));
    expect_same(whole + std::string("\0\0\0\x18"
                                    "ftypmp42....\xFF\xDA....",
                                    22),
                whole);
    expect_same(whole + bytes_of(media_file("upright.mp4")), whole);
    expect_same(whole + bytes_of(media_file("progressive.jpg")), whole);
    expect_same(whole + whole.substr(0, whole.size() / 2), whole);
    for (size_t count : {1, 2, 7}) expect_same(filled(whole, count), whole);
    // Marks of an end within a comment.
    expect_same(whole.substr(0, 2) + std::string("\xFF\xFE\0\x06\xFF\xD9\xFF\xDA", 8) + whole.substr(2), whole);
  }
  const std::string turned = filled(bytes_of(media_file("orientation6.jpg")), 3);
  EXPECT_GT(decibels(read(turned), expected("image.orientation6.jpg")), 42);
}

TEST_F(PictureDamage, HalfAJpegStaysRefused) {
  for (const char* name : {"orientation6.jpg", "progressive.jpg", "subsampled.jpg"}) {
    SCOPED_TRACE(name);
    const std::string whole = bytes_of(media_file(name)), half = whole.substr(0, whole.size() - 40);
    expect_refused(half, "it is truncated");
    expect_refused(whole.substr(0, whole.size() - 2), "it is truncated");
    expect_refused(half + whole, "it is truncated");
  }
  std::string arithmetic = bytes_of(media_file("grey.jpg"));
  arithmetic[arithmetic.find("\xFF\xC0") + 1] = '\xC9';
  expect_refused(arithmetic, "a lossless or arithmetic-coded JPEG; save it as PNG");
}

// --- PNG

std::string chunk(const std::string& name, const std::string& data, bool damaged = false) {
  const std::string summed = name + data;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(summed.data()), uInt(summed.size()));
  return big_endian(data.size(), 4) + summed + big_endian(sum ^ (damaged ? 1 : 0), 4);
}

std::string compressed(const std::string& data) {
  std::string out(compressBound(data.size()), '\0');
  uLongf size = out.size();
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(data.data()), data.size());
  return out.substr(0, size);
}

constexpr size_t kHeader = 33;  // signature and IHDR

TEST_F(PictureDamage, PngTakesDamagedAncillaryChunks) {
  for (const char* file : {"rgb.png", "palette.png"}) {
    const std::string whole = bytes_of(media_file(file));
    for (const char* name : {"iCCP", "tEXt", "zTXt", "iTXt", "eXIf", "gAMA", "cHRM", "sRGB", "pHYs", "tIME", "sBIT",
                             "bKGD", "hIST", "tRNS", "acTL", "fcTL", "cICP", "abCd"}) {
      for (const std::string& data : {std::string(), std::string("x"), std::string("name\0\0garbage", 13)}) {
        SCOPED_TRACE(std::string(file) + " " + name);
        for (bool damaged : {false, true}) {
          expect_same(whole.substr(0, kHeader) + chunk(name, data, damaged) + whole.substr(kHeader), whole);
        }
        expect_same(whole.substr(0, whole.size() - 12) + chunk(name, data) + whole.substr(whole.size() - 12), whole);
      }
    }
    expect_same(whole + "anything", whole);
    expect_same(whole.substr(0, whole.size() - 12), whole);  // all pixels are there
  }
  // The orientation counts where its chunk is whole.
  const std::string turned = bytes_of(media_file("turned.png")), exif("eXIf");
  std::string broken = turned;
  broken[turned.find(exif) + 4 + 1] ^= 1;
  EXPECT_EQ(read(turned).sizes(), (std::vector<int64_t>{24, 16, 3}));
  EXPECT_EQ(read(broken).sizes(), (std::vector<int64_t>{16, 24, 3}));
}

TEST_F(PictureDamage, PngWithDamagedPixelsStaysRefused) {
  const std::string whole = bytes_of(media_file("rgb.png"));
  const size_t pixels = whole.find("IDAT") - 4;
  const std::string before = whole.substr(0, pixels), end = whole.substr(whole.size() - 12);
  std::string flipped = whole;
  flipped[pixels + 12] ^= 1;
  expect_refused(flipped, "it is damaged: a checksum is wrong");
  expect_refused(whole.substr(0, whole.size() - 20), "it is truncated");
  expect_refused(before + end, "it is damaged");
  // Rows that are missing though every checksum is right.
  expect_refused(before + chunk("IDAT", compressed(std::string(5 * (1 + 24 * 3), '\0'))) + end,
                 "it is damaged or truncated");
  expect_refused(whole.substr(0, 8) + chunk("CgBI", "abcd") + whole.substr(8),
                 "Apple's own form (CgBI); save it as PNG again");
  std::string palette = bytes_of(media_file("palette.png"));
  palette.replace(palette.find("PLTE"), 4, "prVt");
  expect_refused(palette, "it has no palette");
}

// --- WebP and GIF

TEST_F(PictureDamage, WebpTakesDamagedAncillaryChunks) {
  for (const char* file : {"turned.webp", "animated.webp"}) {
    SCOPED_TRACE(file);
    const std::string whole = bytes_of(media_file(file));
    expect_same(whole + "anything at all", whole);
    for (const char* name : {"ICCP", "XMP ", "abcd"}) {
      const std::string odd = name + std::string("\x03\0\0\0zz\xFF\0", 8);
      expect_same(whole.substr(0, 30) + odd + whole.substr(30), whole);
    }
    expect_refused(whole.substr(0, 60), "t");
  }
}

TEST_F(PictureDamage, HalfAGifIsRefused) {
  const std::string whole = bytes_of(media_file("animated.gif"));
  expect_refused(whole.substr(0, 200), "it is truncated");
  expect_same(whole + "anything", whole);
}

TEST_F(PictureDamage, AnimatedWebpAsAVideoNamesTheWayOut) {
  try {
    VideoReader({media_file("animated.webp"), "video_url"});
    ADD_FAILURE() << "was read";
  } catch (const InvalidRequest& error) {
    EXPECT_NE(std::string(error.what()).find("convert it to MP4 or GIF"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace wan
