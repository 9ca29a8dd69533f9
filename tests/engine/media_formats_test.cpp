// AVIF, HEIC and JPEG 2000, and what is told of pictures that are not 8 bits of sRGB.
#include <zlib.h>

#include "engine/media/image_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

using Texts = std::vector<std::string>;

at::Tensor read(const std::string& path) {
  return read_image({path, "image_url"});
}

const at::Tensor& rgb() {
  static const at::Tensor picture = expected("image.rgb.png");
  return picture;
}

TEST(ReadHeif, TurnsAsTheContainerSaysAndNotTwice) {
  if (!reads_heif()) {
    expect_picture_refused(media_file("turned.avif"), "save it as PNG or JPEG");
    return;
  }
  // irot for orientation 6; Exif's orientation 6 without irot does not count in HEIC.
  const at::Tensor turned = read(media_file("turned.avif")), upright = read(media_file("exif.heic"));
  ASSERT_EQ(turned.sizes(), (std::vector<int64_t>{24, 16, 3}));
  ASSERT_EQ(upright.sizes(), rgb().sizes());
  EXPECT_GT(decibels(turned, rgb().transpose(0, 1).flip({1})), 38);
  EXPECT_GT(decibels(upright, rgb()), 38);
}

TEST(ReadHeif, RefusesWhatIsCutOrTooLarge) {
  if (!reads_heif()) GTEST_SKIP() << "built without libheif";
  TemporaryFolder folder;
  const std::string path = (folder / "a").string();
  for (const char* name : {"turned.avif", "exif.heic"}) {
    const std::string whole = bytes_of(media_file(name));
    for (size_t cut = 40; cut < whole.size(); cut += 40) {
      write_bytes(path, whole.substr(0, cut));
      expect_picture_refused(path, "it is damaged or truncated");
    }
    std::string large = whole;
    for (size_t at = 0; (at = large.find("ispe", at + 1)) != large.npos;) {
      large.replace(at + 8, 8, std::string("\0\0\x40\0\0\0\x40\0", 8));
    }
    write_bytes(path, large);
    expect_picture_refused(path, "it has 16384x16384 pixels, at most 200 million are read");
  }
}

TEST(ReadJpeg2000, EqualsPillow) {
  EXPECT_EQ(max_abs_difference(read(media_file("rgb.jp2")), rgb()), 0);
  EXPECT_EQ(max_abs_difference(read(media_file("rgb.j2k")), rgb()), 0);
  EXPECT_GT(decibels(read(media_file("sycc.jp2")), rgb()), 45);
}

TEST(ReadJpeg2000, RefusesWhatWouldComeOutWrong) {
  TemporaryFolder folder;
  const std::string path = (folder / "a").string();
  expect_picture_refused(media_file("cmyk.jp2"), "in the colour space 12, not sRGB, grey or sYCC; save it as PNG");
  for (const char* name : {"rgb.jp2", "rgb.j2k"}) {
    const std::string whole = bytes_of(media_file(name));
    for (size_t cut = 130; cut < whole.size(); cut += 20) {
      write_bytes(path, whole.substr(0, cut));
      expect_picture_refused(path, "it is truncated");
    }
    write_bytes(path, whole + "anything");
    EXPECT_EQ(max_abs_difference(read(path), rgb()), 0);
  }
  std::string channels = bytes_of(media_file("rgb.j2k"));
  channels[42] = '\x87';  // bits - 1, and a sign
  write_bytes(path, channels);
  expect_picture_refused(path,
                         "a JPEG 2000 whose channels have a sign, more than 16 bits or different ones; save it as PNG");
}

// --- notes

std::string big(uint32_t value) {
  std::string bytes;
  for (int i = 24; i >= 0; i -= 8) bytes += char(value >> i);
  return bytes;
}

/// An ICC profile with this name; red's x as given.
std::string profile(const std::string& name, double red) {
  const double xyz[9] = {red, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141};
  std::string tags = big(4), data;
  const size_t start = 128 + 4 + 4 * 12;
  auto add = [&](const std::string& tag, const std::string& content) {
    tags += tag + big(uint32_t(start + data.size())) + big(uint32_t(content.size()));
    data += content;
  };
  add("desc", "desc" + big(0) + big(uint32_t(name.size() + 1)) + name + std::string(1, '\0'));
  for (int i = 0; i < 3; ++i) {
    std::string values = "XYZ " + big(0);
    for (int j = 0; j < 3; ++j) values += big(uint32_t(xyz[3 * i + j] * 65536));
    add(std::string(1, "rgb"[i]) + "XYZ", values);
  }
  std::string header(128, '\0');
  header.replace(16, 4, "RGB ").replace(36, 4, "acsp");
  return header + tags + data;
}

/// A JPEG of no orientation with this profile.
void write_with_profile(const std::string& path, const std::string& icc) {
  const std::string whole = bytes_of(media_file("subsampled.jpg")), mark("ICC_PROFILE\0\1\1", 14);
  const size_t length = 2 + mark.size() + icc.size();
  write_bytes(path, whole.substr(0, 2) + "\xFF\xE2" + big(uint32_t(length)).substr(2) + mark + icc + whole.substr(2));
}

TEST(PictureNotes, TellWhatIsLostOnTheWayTo8BitsOfSrgb) {
  const Texts transparent = {
      "the picture has transparent parts; transparency is dropped, and the colours stored under it show"};
  for (const char* name : {"rgb.png", "orientation6.jpg", "lossy.webp", "rgb.bmp", "rgb.tiff", "palette.bmp"}) {
    EXPECT_EQ(picture_notes(media_file(name)), Texts{}) << name;
  }
  for (const char* name : {"rgba.png", "grey_alpha.png", "palette.png", "lossless.webp"}) {
    EXPECT_EQ(picture_notes(media_file(name)), transparent) << name;
  }
  for (const char* name : {"rgb16.png", "grey16.png"}) {
    EXPECT_EQ(picture_notes(media_file(name)), Texts{"the picture has more than 8 bits a channel, which are cut to 8"});
  }
  for (const char* name : {"animated.webp", "animated.gif"}) {
    EXPECT_EQ(picture_notes(media_file(name)), Texts{"the file holds more than one picture; the first is used"});
  }
  EXPECT_EQ(picture_notes(media_file("cmyk.jpg")),
            Texts{"the picture is CMYK and is converted without a colour profile"});
}

TEST(PictureNotes, TellColoursThatAreNotSrgb) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.jpg").string();
  write_with_profile(path, profile("Display P3", 0.515));
  EXPECT_EQ(picture_notes(path),
            Texts{"the picture has the colour profile 'Display P3', and its colours are taken as sRGB"});
  for (const std::string& fine :
       {profile("sRGB IEC61966-2.1", 0.4361), profile("c2", 0.4361), std::string("nonsense")}) {
    write_with_profile(path, fine);
    EXPECT_EQ(picture_notes(path), Texts{});
  }
}

/// A PNG with this profile, compressed, in a chunk before its pixels.
void write_png_with_profile(const std::string& path, const std::string& icc) {
  const std::string whole = bytes_of(media_file("rgb.png"));
  std::string packed(compressBound(uLong(icc.size())), '\0');
  uLongf size = uLongf(packed.size());
  ASSERT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(icc.data()),
                     uLong(icc.size())),
            Z_OK);
  packed.resize(size);
  const std::string body = std::string("iCCPx\0\0", 7) + packed;
  const uLong sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), uInt(body.size()));
  constexpr size_t kHeader = 8 + 25;  // signature and IHDR
  write_bytes(path, whole.substr(0, kHeader) + big(uint32_t(body.size() - 4)) + body + big(uint32_t(sum)) +
                        whole.substr(kHeader));
}

TEST(PictureNotes, TellTheProfileOfAPng) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.png").string();
  write_png_with_profile(path, profile("Display P3", 0.515));
  EXPECT_EQ(picture_notes(path),
            Texts{"the picture has the colour profile 'Display P3', and its colours are taken as sRGB"});
  write_png_with_profile(path, profile("sRGB IEC61966-2.1", 0.4361));
  EXPECT_EQ(picture_notes(path), Texts{});
  std::string damaged = bytes_of(path);
  damaged[8 + 25 + 20] ^= 1;  // in the profile
  write_bytes(path, damaged);
  EXPECT_EQ(picture_notes(path),
            Texts{"the picture's colour profile is damaged and left out: its colours are taken as sRGB"});
}

TEST(PictureNotes, TellOtherColoursThatAPngStates) {
  TemporaryFolder folder;
  const std::string path = (folder / "a.png").string(), whole = bytes_of(media_file("rgb.png"));
  const auto with = [&](const std::string& body) {
    const auto big = [](uint32_t value) {
      return std::string{char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
    };
    const uLong sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), uInt(body.size()));
    write_bytes(path, whole.substr(0, 8 + 25) + big(uint32_t(body.size() - 4)) + body + big(uint32_t(sum)) +
                          whole.substr(8 + 25));
    return picture_notes(path);
  };
  EXPECT_EQ(with("cICP\x0C\x0D" + std::string("\0\1", 2)),
            Texts{"the picture states other colours than sRGB (primaries 12 of H.273), and they are taken as sRGB"});
  EXPECT_EQ(with("cICP\x01\x0D" + std::string("\0\1", 2)), Texts{});
  EXPECT_EQ(with("gAMA" + std::string("\0\1\x86\xA0", 4)),
            Texts{"the picture states a gamma of 1.00 where sRGB has 0.45, and is taken as sRGB"});
  EXPECT_EQ(with("gAMA" + std::string("\0\0\xB1\x8F", 4)), Texts{});
}

}  // namespace
}  // namespace wan
