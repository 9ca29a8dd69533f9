// What a language server is sent of a picture.
#include "engine/job/expansion_picture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/fetch/data_url.h"
#include "engine/media/encoded_picture.h"
#include "engine/media/image_reader.h"
#include "engine/media/png.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

using Shape = std::vector<int64_t>;

class SeenPicture : public testing::Test {
 protected:
  std::string url_of(const at::Tensor& rgb) const {
    write_png(folder_ / "given.png", rgb);
    return seen_picture({folder_ / "given.png", "image_url"});
  }
  static std::string bytes_in(const std::string& url) { return data_url_bytes(url, "image_url"); }
  Shape sent_of(int64_t height, int64_t width) const {
    write_bytes(folder_ / "sent.jpg", bytes_in(url_of(moving_picture(1, height, width)[0])));
    return read_image({folder_ / "sent.jpg", "image_url"}).sizes().vec();
  }

  TemporaryFolder folder_;
};

TEST_F(SeenPicture, HasAtMost768PixelsOnItsLongerSide) {
  EXPECT_EQ(sent_of(1024, 512), (Shape{768, 384, 3}));
  EXPECT_EQ(sent_of(64, 1536), (Shape{32, 768, 3}));
  EXPECT_EQ(sent_of(40, 768), (Shape{40, 768, 3})) << "as it is";
}

TEST_F(SeenPicture, IsBase64OfAnyNumberOfBytes) {
  int64_t padded = 0;
  for (int64_t width = 16; width < 40; ++width) {
    const at::Tensor rgb = moving_picture(1, 16, width)[0];
    const std::string url = url_of(rgb);
    EXPECT_EQ(url.substr(url.find(',') + 1).size() % 4, 0u) << width;
    EXPECT_TRUE(bytes_in(url) == encoded_jpeg(rgb)) << width << ": every byte, and none behind them";
    padded += url.ends_with("=");
  }
  EXPECT_GT(padded, 0) << "some were no whole number of three bytes";
}

}  // namespace
}  // namespace wan
