#include "engine/media/fetch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/request/error.h"

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

}  // namespace
}  // namespace wan
