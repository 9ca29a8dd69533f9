#include "engine/job/fetched.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/base/error.h"
#include "engine/media/image_reader.h"
#include "tests/support.h"

namespace wan {
namespace {

TEST(FetchedMedia, ADataUrlBecomesAFileForAsLongAsItIsNeeded) {
  Request request;
  request.image_url = "data:text/plain;base64,d2FuLWluZmVy";
  request.audio_url = "speech.wav";
  std::string copy;
  {
    FetchedMedia media(request);
    copy = request.image_url;
    std::ifstream in(copy);
    std::string text;
    std::getline(in, text);
    EXPECT_EQ(text, "wan-infer");
    EXPECT_EQ(request.audio_url, "speech.wav");
  }
  EXPECT_FALSE(std::filesystem::exists(copy));
}

TEST(FetchedMedia, WhatCannotBeReadIsNamed) {
  for (const char* url : {"http://127.0.0.1:1/none.png", "data:nonsense"}) {
    Request request;
    request.video_url = url;
    try {
      FetchedMedia media(request);
      ADD_FAILURE() << url << " was read";
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(invalid.errors.at(0).field, "video_url");
      EXPECT_NE(std::string(invalid.what()).find(url), std::string::npos) << invalid.what();
    }
  }
}

TEST(FetchedMedia, KeptCopiesAreFetchedOnce) {
  const TemporaryFolder folder;
  const std::string prefix = (folder / "clips").string() + "/", url = "data:text/plain;base64,d2FuLWluZmVy";
  auto fetched = [&](bool keep) {
    Request request;
    request.image_url = request.audio_url = url;
    FetchedMedia media(request, prefix);
    EXPECT_EQ(request.image_url, copy_path(prefix, url));
    EXPECT_EQ(request.audio_url, request.image_url);
    std::ifstream in(request.image_url);
    if (keep) media.keep();
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  fetched(false);
  EXPECT_FALSE(std::filesystem::exists(folder / "clips")) << "what was not kept goes, with its folder";
  EXPECT_EQ(fetched(true), "wan-infer");
  std::ofstream(copy_path(prefix, url)) << "kept";
  EXPECT_EQ(fetched(false), "kept") << "the URL is not asked again";
  EXPECT_TRUE(std::filesystem::exists(copy_path(prefix, url))) << "who did not fetch it does not remove it";
}

// A picture of noise: large, and no picture.
TEST(FetchedMedia, ErrorsNameTheUrlAndNotTheCopy) {
  Request request;
  request.image_url = "data:image/png;base64," + std::string(3 << 20, 'A');
  FetchedMedia media(request);
  try {
    media.reading([&] { read_image(request.image_url, "image_url"); });
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
