// AVIF and HEIC pictures that hold more pixels than they say: refused before any is allocated.
#include "engine/media/coded_size.h"
#include "engine/media/image_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

std::string big(uint64_t value, int width) {
  std::string bytes;
  while (width-- > 0) bytes += char(value >> 8 * width);
  return bytes;
}

std::string box(const std::string& type, const std::string& content) {
  return big(8 + content.size(), 4) + type + content;
}

std::string full_box(const std::string& type, int version, const std::string& content) {
  return box(type, char(version) + big(0, 3) + content);
}

std::string size_box(uint32_t width, uint32_t height) {
  return full_box("ispe", 0, big(width, 4) + big(height, 4));
}

/// The AV1 stream of turned.avif, 24x16.
std::string tile() {
  const std::string file = bytes_of(media_file("turned.avif"));
  return file.substr(file.find("mdat") + 4);
}

/// An AVIF file whose primary item, of this type and content, says 24x16 and is made of one AV1 item.
std::string derived(const std::string& type, const std::string& content, const std::string& pieces_of_tile = "") {
  const std::string stream = tile();
  auto entry = [](int id, const std::string& kind) {
    return full_box("infe", 2, big(id, 2) + big(0, 2) + kind + '\0');
  };
  auto meta = [&](size_t offset) {
    const std::string where =
        big(1, 2) + big(1, 2) + big(0, 2) + big(1, 2) + big(0, 4) + big(content.size(), 4) + big(2, 2) + big(0, 2) +
        big(0, 2) + (pieces_of_tile.empty() ? big(1, 2) + big(offset, 4) + big(stream.size(), 4) : pieces_of_tile);
    const std::string properties =
        box("ipco", size_box(24, 16) + box("av1C", "\x81\x20" + big(0, 2)) + full_box("pixi", 0, "\3\b\b\b"));
    const std::string links = big(2, 4) + big(1, 2) + "\2\1\3" + big(2, 2) + "\3\x82\1\3";
    return full_box("meta", 0,
                    full_box("hdlr", 0, big(0, 4) + "pict" + big(0, 13)) + full_box("pitm", 0, big(1, 2)) +
                        full_box("iloc", 1, "\x44" + big(0, 1) + big(2, 2) + where) +
                        full_box("iinf", 0, big(2, 2) + entry(1, type) + entry(2, "av01")) +
                        full_box("iref", 0, box("dimg", big(1, 2) + big(1, 2) + big(2, 2))) +
                        box("iprp", properties + full_box("ipma", 0, links)) + box("idat", content));
  };
  const std::string brand = box("ftyp", "avif" + big(0, 4) + "avifmif1miaf");
  return brand + meta(brand.size() + meta(0).size() + 8) + box("mdat", stream);
}

/// One tile, and a canvas of this size.
std::string grid(uint32_t width, uint32_t height) {
  return big(0, 1) + big(1, 1) + big(0, 2) + big(width, 4) + big(height, 4);
}
std::string overlay(uint32_t width, uint32_t height) {
  return big(0, 1) + big(1, 1) + big(0, 6) + big(0xFFFF, 2) + big(width, 4) + big(height, 4) + big(0, 8);
}

class HeifSize : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!reads_heif()) GTEST_SKIP() << "built without libheif";
  }
  at::Tensor read(const std::string& bytes) {
    write_bytes(path_, bytes);
    return read_image({path_, "image_url"});
  }
  void expect_refused(const std::string& bytes, const std::string& word) {
    write_bytes(path_, bytes);
    expect_picture_refused(path_, word);
  }
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "a.avif";
};

TEST_F(HeifSize, GridsAndOverlaysOfTheSizeTheySayAreRead) {
  const std::vector<int64_t> size = {16, 24, 3};
  EXPECT_EQ(read(derived("grid", grid(24, 16))).sizes(), size);
  EXPECT_EQ(read(derived("iovl", overlay(24, 16))).sizes(), size);
}

TEST_F(HeifSize, LargerOnesAreRefused) {
  const std::string words = "it says 24x16 pixels and holds 16000x12000";
  expect_refused(derived("grid", grid(16000, 12000)), words);
  expect_refused(derived("iovl", overlay(16000, 12000)), words);
  std::string honest = derived("grid", grid(0xFFFFFFFF, 0xFFFFFFFF));
  honest.replace(honest.find("ispe") + 8, 8, std::string(8, '\xFF'));
  expect_refused(honest, "pixels, at most 200 million are read");
}

// The sequence header of the stream: 4 and 4 bits say how many bits each of the sides has, here 5 and 4.
TEST_F(HeifSize, AStreamLargerThanItsItemIsRefused) {
  std::string bytes = bytes_of(media_file("turned.avif"));
  const size_t header = bytes.find("\x0A\x08\x38\x10") + 2;
  ASSERT_LT(header, bytes.size());
  bytes[header + 1] = '\x3F';  // 16 and 13 bits, which take what follows
  bytes[header + 2] = char(0x3F & (uint8_t(bytes[header + 2]) | 0x30));
  expect_refused(bytes, "it is damaged: it says 24x16 pixels and holds ");
}

TEST_F(HeifSize, PiecesThatOverlapAreRefused) {
  std::string pieces = big(5000, 2);
  for (int i = 0; i < 5000; ++i) pieces += big(0, 4) + big(40'000, 4);
  expect_refused(derived("grid", grid(24, 16), pieces), "it has more parts than a picture needs");
}

std::string stream_of(const std::string& options, const std::string& path) {
  ffmpeg("-f lavfi -i color=gray:s=1000x700 -frames:v 1 " + options + " '" + path + "'");
  return bytes_of(path);
}

TEST(CodedSize, IsThatOfTheEncoder) {
  TemporaryFolder folder;
  const std::string path = folder / "stream";
  for (const char* encoder :
       {"libaom-av1 -cpu-used 8", "libaom-av1 -cpu-used 8 -still-picture 1", "libsvtav1 -preset 12"}) {
    const PixelSize size = av1_size(stream_of(std::string("-c:v ") + encoder + " -f obu", path));
    EXPECT_TRUE(size.width == 1000 && size.height == 700) << encoder << " " << size.width << "x" << size.height;
  }
  for (const char* format : {"yuv420p", "yuv444p10le"}) {
    const std::string stream =
        stream_of(std::string("-c:v libx265 -preset superfast -pix_fmt ") + format + " -f hevc", path);
    std::string units;  // behind their lengths in place of start codes
    PixelSize alone;
    for (size_t at = stream.find(std::string("\0\0\1", 3)); at != stream.npos;) {
      const size_t next = stream.find(std::string("\0\0\1", 3), at + 3);
      const std::string unit = stream.substr(at + 3, next == stream.npos ? next : next - at - 3);
      alone = larger(alone, hevc_unit_size(unit));
      units += big(unit.size(), 4) + unit;
      at = next;
    }
    const PixelSize size = hevc_size(units, 4);
    EXPECT_TRUE(size.width == 1000 && size.height == 704) << size.width << "x" << size.height;  // blocks of 8
    EXPECT_TRUE(alone.width == size.width && alone.height == size.height);
  }
}

TEST(CodedSize, OfNothingIsNone) {
  for (const std::string& bytes :
       {std::string(), std::string(1, '\x0A'), std::string(40, '\xFF'), std::string(40, '\0')}) {
    av1_size(bytes);
    hevc_size(bytes, 4);
    EXPECT_EQ(hevc_unit_size(bytes).width, 0u);
  }
}

}  // namespace
}  // namespace wan
