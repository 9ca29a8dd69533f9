#include "engine/request/geometry.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace wan {
namespace {

TEST(Geometry, TableOfSizes) {
  EXPECT_EQ(size_of("480p", "16:9"), (Size{832, 480}));
  EXPECT_EQ(size_of("580p", "16:9"), (Size{1024, 576}));
  EXPECT_EQ(size_of("720p", "16:9"), (Size{1280, 720}));
  EXPECT_EQ(size_of("720p", "9:16"), (Size{720, 1280}));
  EXPECT_EQ(size_of("480p", "1:1"), (Size{624, 624}));
  EXPECT_EQ(size_of("580p", "1:1"), (Size{768, 768}));
  EXPECT_EQ(size_of("720p", "1:1"), (Size{960, 960}));
  EXPECT_EQ(area_of("480p"), 399360);
  EXPECT_EQ(area_of("580p"), 589824);
  EXPECT_EQ(area_of("720p"), 921600);
  EXPECT_THROW(size_of("720p", "auto"), std::invalid_argument);
}

// Rows of the reference's own tables.
TEST(Geometry, SizeByArea) {
  EXPECT_EQ(size_by_area(1280, 720, 399360), (Size{832, 464}));
  EXPECT_EQ(size_by_area(1280, 720, 921600), (Size{1280, 720}));
  EXPECT_EQ(size_by_area(1280, 720, 1536), (Size{48, 16}));
  EXPECT_EQ(size_by_area(720, 1280, 399360), (Size{464, 832}));
  EXPECT_EQ(size_by_area(640, 480, 399360), (Size{720, 544}));
  EXPECT_EQ(size_by_area(640, 480, 921600), (Size{1104, 816}));
  EXPECT_EQ(size_by_area(20000, 1, 399360).height, 0);
  EXPECT_THROW(size_by_area(0, 1, 399360), std::invalid_argument);
}

TEST(Geometry, SpeechSizeByArea) {
  EXPECT_EQ(speech_size_by_area(832, 480, 399360), (Size{832, 448}));
  EXPECT_EQ(speech_size_by_area(1280, 720, 720896), (Size{1088, 640}));
  EXPECT_EQ(speech_size_by_area(1920, 1080, 720896), (Size{1088, 640}));
  EXPECT_EQ(speech_size_by_area(2271, 603, 921600), (Size{1792, 512}));
  EXPECT_EQ(speech_size_by_area(1758, 1427, 921600), (Size{1024, 832}));  // 1088x832 with 4ac
  EXPECT_EQ(speech_size_by_area(100, 150, 399360), (Size{128, 192}));     // never enlarged beyond the next 64
  EXPECT_NO_THROW(speech_size_by_area(20000, 20000, 100));                // the square root has no real value there
}

TEST(Geometry, VideoSizeIsTheRequestsOrFollowsTheInput) {
  Request request;
  request.resolution = "480p";
  request.task = Task::I2V;
  EXPECT_EQ(video_size(request, 1280, 720), (Size{832, 464}));
  request.task = Task::S2V;
  EXPECT_EQ(video_size(request, 1280, 720), (Size{832, 448}));
  request.width = 64;
  request.height = 128;
  EXPECT_EQ(video_size(request, 1280, 720), (Size{64, 128}));
  request.width = request.height = 0;
  request.task = Task::V2V;
  try {
    video_size(request, 20000, 1);
    FAIL() << "no error";
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(),
                 "[video_url] must have a shape that fits in 399360 pixels, got 20000x1; --width and --height crop it");
  }
}

}  // namespace
}  // namespace wan
