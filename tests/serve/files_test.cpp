// Names of files, ranges of bytes, what a file is.
#include "engine/serve/api/files.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/serve/api/byte_range.h"
#include "engine/serve/api/media_type.h"

namespace wan::serve {
namespace {

TEST(FileNames, AreMadeOfSafeLetters) {
  struct Case {
    const char *wanted, *end;
  };
  constexpr Case kCases[] = {{"image.png", "_image.png"},
                             {"my cat (1).png", "_my_cat__1_.png"},
                             {"../../etc/passwd", "_passwd"},
                             {"a/b\\c.wav", "_c.wav"},
                             {"100%.mp4", "_100_.mp4"},
                             {"", "_file"},
                             {"/", "_file"},
                             {"..", "_.."},
                             {"\xC3\xA4.png", "___.png"}};
  for (const Case& known : kCases) {
    const std::string name = Files::new_name(known.wanted);
    EXPECT_TRUE(name.ends_with(known.end)) << name;
    EXPECT_TRUE(Files::is_name(name)) << name;
  }
  EXPECT_EQ(Files::new_name(std::string(5000, 'a') + ".png").size(), 100u);
  EXPECT_TRUE(Files::new_name(std::string(5000, 'a') + ".png").ends_with("a.png"));
  std::set<std::string> names;
  for (int i = 0; i < 1000; ++i) names.insert(Files::new_name("x"));
  EXPECT_EQ(names.size(), 1000u);
}

TEST(FileNames, LeadOutOfNoFolder) {
  const std::string random(32, 'a');
  EXPECT_TRUE(Files::is_name(random + "_x"));
  for (const std::string& name : {std::string(), std::string(".."), random, random + "_", random + "_a/b",
                                  random + "_a\\b", random + "_a b", "../" + random + "_x", std::string(32, 'A') + "_x",
                                  random + "_" + std::string(100, 'x'), random + std::string("_a\0b", 4)})
    EXPECT_FALSE(Files::is_name(name)) << name;
}

TEST(FileNames, SayWhatBelongsToAJob) {
  const std::string own = Files::new_input_name("image_url.png"), sent = Files::new_name("-image_url.png");
  EXPECT_TRUE(Files::is_name(own));
  EXPECT_TRUE(own.ends_with("-image_url.png"));
  EXPECT_TRUE(Files::is_input_name(own));
  EXPECT_FALSE(Files::is_input_name(sent));
  EXPECT_FALSE(Files::is_input_name("-"));
}

TEST(FileTypes, ThatCameWithAFileAreOfMediaAlone) {
  for (const char* type : {"image/avif", "IMAGE/heic", "audio/aac", "video/3gpp; codecs=\"x\"", "image/bmp"})
    EXPECT_TRUE(is_plain_media(type)) << type;
  for (const char* type : {"", "text/html", "image/svg+xml", "IMAGE/SVG+XML; x=y", "application/pdf", "image",
                           "video/vnd.x+xml", "application/octet-stream"})
    EXPECT_FALSE(is_plain_media(type)) << type;
}

TEST(ByteRange, IsOneOfTheFile) {
  struct Case {
    const char* header;
    uint64_t begin, end;
  };
  constexpr Case kCases[] = {{"bytes=0-99", 0, 100},       {"bytes=0-0", 0, 1},
                             {"bytes=10-", 10, 1000},      {"bytes=-1", 999, 1000},
                             {"bytes=-5000", 0, 1000},     {"bytes=990-5000", 990, 1000},
                             {"BYTES=1-2", 1, 3},          {"bytes= 1-2 ", 1, 3},
                             {"bytes=999-999", 999, 1000}, {"bytes=0-99999999999999999999999", 0, 1000}};
  for (const Case& known : kCases) {
    const auto range = parse_range(known.header, 1000);
    ASSERT_TRUE(range.has_value()) << known.header;
    EXPECT_FALSE(range->outside) << known.header;
    EXPECT_EQ(range->begin, known.begin) << known.header;
    EXPECT_EQ(range->end, known.end) << known.header;
  }
}

TEST(ByteRange, OutsideOfTheFileIsRefused) {
  for (const char* header : {"bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"}) {
    const auto range = parse_range(header, 1000);
    ASSERT_TRUE(range.has_value()) << header;
    EXPECT_TRUE(range->outside) << header;
  }
  EXPECT_TRUE(parse_range("bytes=-1", 0)->outside);
}

TEST(ByteRange, OfAnotherFormIsIgnored) {
  for (const char* header : {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-3", "bytes=0-1,5-6", "lines=0-1",
                             "bytes=1", "bytes=+1-2", "bytes=0x1-2", "bytes=--1", "bytes=1 - 2"})
    EXPECT_FALSE(parse_range(header, 1000).has_value()) << header;
}

TEST(MediaType, IsToldByTheFirstBytes) {
  struct Case {
    std::string first;
    const char* type;
  };
  const std::string zeros(16, '\0');
  const Case cases[] = {{"\x89PNG\r\n\x1A\n" + zeros, "image/png"},
                        {"\xFF\xD8\xFF\xE0", "image/jpeg"},
                        {"GIF89a", "image/gif"},
                        {"RIFF" + std::string(4, 'x') + "WEBPVP8 ", "image/webp"},
                        {"RIFF" + std::string(4, 'x') + "WAVEfmt ", "audio/wav"},
                        {std::string("\0\0\0\x20", 4) + "ftypisom", "video/mp4"},
                        {std::string("\0\0\0\x20", 4) + "ftypqt  ", "video/quicktime"},
                        {std::string("\0\0\0\x20", 4) + "ftypM4A ", "audio/mp4"},
                        {"\x1A\x45\xDF\xA3....B\x82\x84webm", "video/webm"},
                        {"\x1A\x45\xDF\xA3....B\x82\x88matroska", "video/x-matroska"},
                        {"ID3\x04", "audio/mpeg"},
                        {"\xFF\xFB\x90\x64", "audio/mpeg"},
                        {"OggS", "audio/ogg"},
                        {"fLaC", "audio/flac"},
                        {"<svg xmlns=\"http://www.w3.org/2000/svg\">", ""},
                        {"<!DOCTYPE html>", ""},
                        {"\xFF\xFE<\0h\0", ""},
                        {std::string("\0\0\0\x20", 4) + "ftypavif", ""},
                        {"%PDF-1.7", ""},
                        {"", ""}};
  for (const Case& known : cases) EXPECT_EQ(media_type(known.first), known.type) << known.first;
}

}  // namespace
}  // namespace wan::serve
