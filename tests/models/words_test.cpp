// Words of a text as they are compared with blocked ones.
#include "models/text/clean/words.h"

#include <gtest/gtest.h>

#include "models/files/utf8.h"

namespace wan::text {
namespace {

std::string words(const std::string& text) {
  std::string joined;
  for (const std::u32string& word : words_of(from_utf8(text))) joined += (joined.empty() ? "" : "|") + to_utf8(word);
  return joined;
}

TEST(Words, HaveFoldedCaseAndCompatibleForms) {
  EXPECT_EQ(words(""), "");
  EXPECT_EQ(words(" \t\n...!"), "");
  EXPECT_EQ(words("A Cat,a-DOG"), "a|cat|a|dog");
  EXPECT_EQ(words("Straße"), words("STRASSE"));
  EXPECT_EQ(words("\xef\xbc\xa1\xef\xbc\xa2\xef\xbc\xa3"), "abc") << "full width";
  EXPECT_EQ(words("\xef\xac\x81sh"), "fish") << "a ligature";
  EXPECT_EQ(words("cafe\xcc\x81"), words("CAF\xc3\x89")) << "two spellings of one letter";
  EXPECT_EQ(words("\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82"),
            words("\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83"))
      << "the sigma at the end";
  EXPECT_EQ(words("4k video2"), "4k|video2");
}

TEST(Words, WhatHasNoWidthHidesNothing) {
  EXPECT_EQ(words("b\xe2\x80\x8b\x61\xc2\xad"
                  "d"),
            "bad")
      << "zero width space, soft hyphen";
}

TEST(Words, InWritingWithoutSpacesAreCharacters) {
  EXPECT_EQ(words("\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8c\xab"), "\xe4\xb8\x80|\xe5\x8f\xaa|\xe7\x8c\xab");
  EXPECT_EQ(words("a\xe7\x8c\xab"
                  "b"),
            "a|\xe7\x8c\xab|b");
  EXPECT_EQ(words("\xd0\x9a\xd0\xbe\xd1\x82"), "\xd0\xba\xd0\xbe\xd1\x82") << "Cyrillic has spaces";
}

}  // namespace
}  // namespace wan::text
