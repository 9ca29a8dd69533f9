// Image files: what is read equals Pillow's picture; what is no image, or is broken, is told.
#include <filesystem>

#include "engine/base/error.h"
#include "engine/frames/contact_sheet.h"
#include "engine/media/image_reader.h"
#include "engine/media/png.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

bool lossy(const std::string& name) {
  return name.find(".jpg") != std::string::npos || name.find("lossy") != std::string::npos;
}

TEST(ReadImage, EqualsPillow) {
  std::vector<std::string> names = expected_names("image.");
  EXPECT_GT(names.size(), 25u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    at::Tensor got = read_image({media_file(name), "image_url"}), want = expected("image." + name);
    ASSERT_EQ(got.sizes(), want.sizes());
    EXPECT_TRUE(got.is_contiguous());
    if (!lossy(name)) {
      EXPECT_EQ(max_abs_difference(got, want), 0);
    } else {
      // Another inverse transform and another chroma filter than libjpeg's: a wrong turn costs 20 dB, wrong colours 10.
      EXPECT_GT(decibels(got, want), 42);
    }
  }
}

TEST(ReadImage, RefusesWhatIsNoImage) {
  TemporaryFolder folder;
  expect_picture_refused((folder / "absent.png").string(), "No such file");
  expect_picture_refused(folder.path().string(), "not a regular file");
  expect_picture_refused("/dev/zero", "not a regular file");
  expect_picture_refused("http://example.com/a.png", "No such file");
  expect_picture_refused("concat:" + media_file("rgb.png"), "No such file");
  write_bytes((folder / "empty.png").string(), "");
  expect_picture_refused((folder / "empty.png").string(), "empty");
  write_bytes((folder / "text.png").string(), "#EXTM3U\nrgb.png\n");
  expect_picture_refused((folder / "text.png").string(), "it is a text, not the file itself");
  write_bytes((folder / "vector.png").string(), "<svg xmlns='http://www.w3.org/2000/svg'/>");
  expect_picture_refused((folder / "vector.png").string(), "an SVG drawing; save it as PNG");
  expect_picture_refused(media_file("huge.png"), "16000x15000 pixels");
}

TEST(ReadImage, TakesNamesLiterally) {
  TemporaryFolder folder;
  for (const char* name : {"frame%03d.png", "a:b?*.txt"}) {
    std::filesystem::copy_file(media_file("rgb.png"), folder / name);
    EXPECT_EQ(max_abs_difference(read_image({(folder / name).string(), "image_url"}), expected("image.rgb.png")), 0)
        << name;
  }
}

TEST(ReadImage, TakesOnePixelAndTwentyThousand) {
  TemporaryFolder folder;
  for (std::vector<int64_t> shape : {std::vector<int64_t>{1, 1, 3}, {10, 20000, 3}}) {
    at::Tensor picture = at::arange(shape[0] * shape[1] * 3).remainder(251).to(at::kByte).view(shape);
    write_png((folder / "wide.png").string(), picture);
    EXPECT_EQ(max_abs_difference(read_image({(folder / "wide.png").string(), "image_url"}), picture), 0);
  }
}

// Any prefix of a file, and any file with bytes overwritten, is an error or a picture; never a crash.
TEST(ReadImage, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder / "damaged").string();
  for (const std::string& name : expected_names("image.")) {
    const std::string whole = bytes_of(media_file(name));
    for (size_t cut = 0; cut < whole.size(); cut += 1 + whole.size() / 7) {
      for (bool truncate : {true, false}) {
        std::string bytes = truncate ? whole.substr(0, cut) : whole;
        if (!truncate) bytes[cut] = char(bytes[cut] ^ 0xA5);
        write_bytes(path, bytes);
        try {
          EXPECT_EQ(read_image({path, "image_url"}).size(2), 3) << name << " " << cut;
        } catch (const InvalidRequest&) {
        }
      }
    }
  }
  // A picture cut in half is an error, not half a picture.
  for (const char* name : {"rgb.png", "rgb16.png", "progressive.jpg", "orientation1.jpg", "rgb.bmp", "lossy.webp"}) {
    std::string whole = bytes_of(media_file(name));
    write_bytes(path, whole.substr(0, whole.size() * 85 / 100));
    EXPECT_THROW(read_image({path, "image_url"}), InvalidRequest) << name;
  }
}

TEST(WritePng, EqualPicturesGiveEqualBytes) {
  TemporaryFolder folder;
  at::Tensor picture = moving_picture(1, 30, 45)[0];
  for (const char* name : {"a.png", "b.png"}) write_png((folder / name).string(), picture);
  EXPECT_EQ(bytes_of((folder / "a.png").string()), bytes_of((folder / "b.png").string()));
  EXPECT_EQ(max_abs_difference(read_image({(folder / "a.png").string(), "x"}), picture), 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.png.part"));
  EXPECT_THROW(write_png((folder / "c.png").string(), picture.to(at::kFloat)), std::invalid_argument);
  EXPECT_THROW(write_png((folder / "no" / "c.png").string(), picture), std::runtime_error);
}

TEST(ContactSheet, PicksEvenlyAndEnlargesTinyFrames) {
  at::Tensor frames = at::arange(17, at::kByte).view({17, 1, 1, 1}).expand({17, 64, 64, 3});
  ContactSheet sheet(17, 5, 3);
  for (int64_t at = 0; at < 17; at += 4) sheet.add(frames.narrow(0, at, std::min<int64_t>(4, 17 - at)));
  at::Tensor image = sheet.image();
  EXPECT_EQ(image.sizes(), (std::vector<int64_t>{2 * 260 + 4, 3 * 260 + 4, 3}));
  for (int64_t tile = 0; tile < 5; ++tile) {
    EXPECT_EQ(image[tile / 3 * 260 + 130][tile % 3 * 260 + 130][0].item<int>(), tile * 4);
  }
  EXPECT_THROW(ContactSheet(3).image(), std::logic_error);
}

TEST(ContactSheet, ReducesLargeFramesAndTakesShortClips) {
  ContactSheet sheet(2, 12, 4);
  sheet.add(at::full({2, 720, 1280, 3}, 7, at::kByte));
  EXPECT_EQ(sheet.image().sizes(), (std::vector<int64_t>{270 + 8, 2 * 484 + 4, 3}));
}

}  // namespace
}  // namespace wan
