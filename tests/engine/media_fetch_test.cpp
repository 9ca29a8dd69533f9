#include "engine/job/fetched.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/base/error.h"
#include "engine/media/image_reader.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

constexpr const char* kText = "data:text/plain;base64,d2FuLWluZmVy";

TEST(InputFiles, ADataUrlBecomesAFileAndPathsStay) {
  const TemporaryFolder folder;
  Request request;
  request.image_url = kText;
  request.audio_url = "speech.wav";
  const InputFiles files = input_files(request, folder.path());
  EXPECT_EQ(files.image.path, copy_path(folder.path(), kText));
  EXPECT_EQ(bytes_of(files.image.path), "wan-infer");
  EXPECT_EQ(files.audio.path, "speech.wav");
  EXPECT_EQ(files.all().size(), 2u);
  EXPECT_TRUE(files.video.path.empty());
}

TEST(InputFiles, WhatCannotBeReadIsNamedAndLeavesNothing) {
  for (const char* url : {"http://127.0.0.1:1/none.png", "data:nonsense"}) {
    const TemporaryFolder folder;
    Request request;
    request.video_url = url;
    try {
      input_files(request, folder.path());
      ADD_FAILURE() << url << " was read";
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(invalid.errors.at(0).field, "video_url");
      EXPECT_NE(std::string(invalid.what()).find(url), std::string::npos) << invalid.what();
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

TEST(InputFiles, ACopyIsFetchedOnce) {
  const TemporaryFolder folder;
  Request request;
  request.image_url = request.audio_url = kText;
  EXPECT_EQ(input_files(request, folder.path()).image.path, input_files(request, folder.path()).audio.path);
  std::ofstream(copy_path(folder.path(), kText)) << "kept";
  EXPECT_EQ(bytes_of(input_files(request, folder.path()).image.path), "kept") << "the URL is not asked again";
}

// Zeros: large, and no picture.
TEST(InputFiles, ErrorsNameTheUrlAndNotTheCopy) {
  const TemporaryFolder folder;
  Request request;
  request.image_url = "data:image/png;base64," + std::string(3 << 20, 'A');
  const InputFiles files = input_files(request, folder.path());
  try {
    read_image(files.image);
    ADD_FAILURE() << "zeros were read as a picture";
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(),
                 "[image_url] must be an image (PNG, JPEG, WebP, BMP, TIFF, GIF), got 'data:image/png;base64,...': "
                 "none of these by its first bytes");
    EXPECT_EQ(invalid.errors.at(0).field, "image_url");
  }
}

}  // namespace
}  // namespace wan
