#include "models/files/utf8.h"

#include <gtest/gtest.h>

namespace wan {
namespace {

std::string refusal(std::string_view text) {
  try {
    check_utf8(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Utf8, NamesTheFirstBadByte) {
  EXPECT_EQ(refusal("twelve bytes\xff!"), "must be valid UTF-8, byte 0xff at offset 12");
  EXPECT_EQ(refusal("\x80"), "must be valid UTF-8, byte 0x80 at offset 0");
}

TEST(Utf8, RefusesWhatIsNoCodePoint) {
  const char* bad[] = {"\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                       "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82",     "\xe2\x28\xa1", "\xc3"};
  for (const char* text : bad) EXPECT_NE(refusal(text), "accepted") << testing::PrintToString(std::string(text));
}

TEST(Utf8, EveryLengthGoesThereAndBack) {
  const std::u32string text = U"\x01\x7f\x80\x7ff\x800\xd7ff\xe000\xffff\x10000\x10ffff";
  EXPECT_EQ(from_utf8(to_utf8(text)), text);
  EXPECT_EQ(to_utf8(U"\x20ac\x1f600"), "\xe2\x82\xac\xf0\x9f\x98\x80");
}

}  // namespace
}  // namespace wan
