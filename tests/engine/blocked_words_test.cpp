// Lists of blocked words: what is read of a file, and what is found in prompts.
#include "engine/job/blocked_words.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "tests/support.h"

namespace wan {
namespace {

std::string refused(const std::string& text) {
  try {
    const BlockedWords words(text);
  } catch (const InvalidRequest& invalid) {
    return invalid.errors.at(0).line();
  }
  return "";
}

TEST(BlockedWords, AreWholeWordsInLettersOfEitherCase) {
  const BlockedWords words("sword\nBig  Bang\n");
  EXPECT_EQ(words.size(), 2u);
  EXPECT_EQ(words.found_in("a SWORD."), "sword");
  EXPECT_EQ(words.found_in("swords, a swordfish"), "") << "a part of a word is none";
  EXPECT_EQ(words.found_in("the big, BANG!"), "Big  Bang") << "whatever stands between";
  EXPECT_EQ(words.found_in("big red bang"), "");
  EXPECT_EQ(words.found_in("bang big"), "");
  EXPECT_EQ(words.found_in("so big"), "") << "the phrase goes on behind the end";
  EXPECT_EQ(words.found_in(""), "");
}

TEST(BlockedWords, OfOtherScripts) {
  const BlockedWords words("\xe5\x89\x91\nStraße\n\xd0\xbc\xd0\xb5\xd1\x87\n");
  EXPECT_EQ(words.found_in("\xe4\xb8\x80\xe6\x8a\x8a\xe5\x89\x91\xe3\x80\x82"), "\xe5\x89\x91");
  EXPECT_EQ(words.found_in("eine STRASSE"), "Straße");
  EXPECT_EQ(words.found_in("\xd0\x9c\xd0\x95\xd0\xa7"), "\xd0\xbc\xd0\xb5\xd1\x87");
}

TEST(BlockedWords, HaveRemarksAndEmptyLines) {
  const BlockedWords words("\xef\xbb\xbf# a list\r\n\r\n  sword # sharp\r\nc#\r\n");
  EXPECT_EQ(words.size(), 2u);
  EXPECT_EQ(words.found_in("sharp"), "");
  EXPECT_EQ(words.found_in("sword"), "sword");
  EXPECT_EQ(words.found_in("c"), "c#") << "a # inside of a word is none of a remark";
  EXPECT_EQ(BlockedWords("").found_in("anything"), "");
}

TEST(BlockedWords, WrongListsNameTheLine) {
  EXPECT_EQ(refused("a\n...\n"), "[blocked_words] line 2 must have a letter or a digit, got '...'; # begins a remark");
  EXPECT_EQ(refused("a\nb\n\xff\n"), "[blocked_words] line 3 must be UTF-8; save the file as UTF-8");
  EXPECT_EQ(refused(std::string(1001, 'a')), "[blocked_words] line 1 must have at most 1000 bytes, has 1001");
}

TEST(BlockedWords, FilesAreBounded) {
  const TemporaryFolder folder;
  const std::string file = folder / "words.txt";
  EXPECT_THROW(BlockedWords::read(file), InvalidRequest);
  std::ofstream(file) << std::string(BlockedWords::kMostBytes, '\n');
  EXPECT_EQ(BlockedWords::read(file).size(), 0u);
  std::ofstream(file, std::ios::app) << '\n';
  EXPECT_THROW(BlockedWords::read(file), InvalidRequest);
}

}  // namespace
}  // namespace wan
