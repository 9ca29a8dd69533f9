#include "engine/job/task.h"

#include <gtest/gtest.h>

namespace wan {
namespace {

std::vector<std::string> told(const Size& input, const Geometry& video) {
  Notes notes;
  note_cropping("image_url", input, video, notes);
  std::vector<std::string> texts;
  for (const Note& note : notes.list()) texts.push_back("[" + note.subject + "] " + note.text);
  return texts;
}

// What stays of a square in 832x480 is 480 / 832 of it, 57.7 %.
TEST(Cropping, IsNotedFromATwentiethOn) {
  const std::vector<std::string> wide = {
      "[image_url] its 1000x1000 pixels are cut to the shape of 832x480: 42 % are left out"};
  EXPECT_EQ(told({1000, 1000}, {832, 480, 81}), wide);
  const std::vector<std::string> high = {
      "[image_url] its 1000x1000 pixels are cut to the shape of 480x832: 42 % are left out"};
  EXPECT_EQ(told({1000, 1000}, {480, 832, 81}), high);
  EXPECT_EQ(told({1920, 1080}, {832, 480, 81}).size(), 0u) << "2.5 % are lost to the multiple of 16";
  EXPECT_EQ(told({832, 480}, {832, 480, 81}).size(), 0u);
  EXPECT_EQ(told({1051, 1000}, {1000, 1000, 81}).size(), 0u) << "4.9 %";
  EXPECT_EQ(told({1054, 1000}, {1000, 1000, 81}).size(), 1u) << "5.1 %";
}

}  // namespace
}  // namespace wan
