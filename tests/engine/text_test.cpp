// What messages, logs and files may say about paths and URLs.
#include "engine/base/text.h"

#include <gtest/gtest.h>

#include "engine/base/listing.h"
#include "models/files/error.h"
#include "models/files/utf8.h"

namespace wan {
namespace {

TEST(Text, LongListsAreCut) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"a"}), "a");
  EXPECT_EQ(listed({"a", "b", "c", "d"}), "a, b, c and d");
  EXPECT_EQ(listed({"a", "b", "c", "d", "e"}), "a, b, c, d and 1 more");
}

TEST(Text, UrlsAreShownWithoutSecrets) {
  for (const char* url : {"http://host/x.png", "http://user:password@host/x.png", "http://user@host/x.png?token=secret",
                          "http://host/x.png#secret", "http://host/x.png?a=b@c", "http://user:p@ss@host/x.png#a?b",
                          "http://user:p/w@host/x.png", "http://user:p?w@host/x.png", "http://user:1?2@host/x.png?c"})
    EXPECT_EQ(public_url(url), "http://host/x.png") << url;
  EXPECT_EQ(public_url("https://user:pw@host:8080/a/@b/x.png?q"), "https://host:8080/a/@b/x.png");
  EXPECT_EQ(public_url("https://host:8080/@b/x.png"), "https://host:8080/@b/x.png");
  EXPECT_EQ(public_url("http://u:p@[::1]:80/x"), "http://[::1]:80/x");
  EXPECT_EQ(public_url("http://host?token=secret"), "http://host");
  EXPECT_EQ(public_url("face.png?no=url"), "face.png?no=url");
  EXPECT_EQ(shown_url("http://user:password@host/x.png?token=secret"), "'http://host/x.png'");
  EXPECT_EQ(shown_url("data:image/png;base64,AAAA"), "'data:image/png;base64,...'");
  EXPECT_EQ(shown_path("ftp://user:password@host/x.png?token=secret"), "'ftp://host/x.png'") << "no path that is read";
  EXPECT_EQ(shown_path("HTTP://user:password@host/x.png"), "'HTTP://host/x.png'");
}

TEST(Text, PathsAreShownAsTypedOrByTheirName) {
  EXPECT_EQ(shown_path("pictures/face.png"), "'pictures/face.png'");
  EXPECT_EQ(shown_path("../face.png"), "'../face.png'");
  EXPECT_EQ(shown_path("/home/anna/pictures/face.png"), "'face.png'");
  EXPECT_EQ(shown_path("/home/anna/pictures/"), "'pictures'");
  EXPECT_EQ(shown_path("/"), "'/'");
  EXPECT_EQ(shown_name("/home/anna/models/high_noise_model/x.safetensors", true), "high_noise_model/x.safetensors");
  EXPECT_EQ(shown_name("/home/anna/Wan2.1_VAE.pth", true), "Wan2.1_VAE.pth") << "not the home folder";
}

TEST(Text, PathsOfOthersStayShortAndOnOneLine) {
  EXPECT_LT(shown_path(std::string(70'000, 'a')).size(), 220u);
  EXPECT_EQ(shown_path("a\nb\xff.png"), "'a\\x0Ab\\xFF.png'");
  EXPECT_EQ(shown_path("caf\xc3\xa9.png"), "'caf\xc3\xa9.png'");
}

TEST(Text, AModelErrorNamesNoFolderOfTheMachine) {
  const ModelError error("/home/anna/models/high_noise_model/x.safetensors: a/b/c", "is absent");
  EXPECT_STREQ(error.what(), "[high_noise_model/x.safetensors: a/b/c] is absent");
  EXPECT_EQ(error.subject, "high_noise_model/x.safetensors: a/b/c");
  EXPECT_STREQ(ModelError("Wan/x.pth", "is absent").what(), "[Wan/x.pth] is absent");
}

TEST(Text, LongShapesAreCut) {
  EXPECT_EQ(shown_shape(std::vector<int64_t>{16, 21, 90, 160}), "[16, 21, 90, 160]");
  EXPECT_EQ(shown_shape(std::vector<int64_t>{}), "[]");
  EXPECT_EQ(shown_shape(std::vector<int64_t>(100'000, 1)), "[1, 1, 1, 1, 1, 1, 1, 1, and 99992 more]");
}

TEST(Text, BytesAreCountedInPowersOfTen) {
  EXPECT_EQ(gigabytes(57'150'000'000), "57.15 GB");
  EXPECT_EQ(gigabytes(507'609'880), "0.51 GB");
  EXPECT_EQ(gigabytes(9'999'999), "10.00 MB");
  EXPECT_EQ(gigabytes(0), "0.00 MB");
}

TEST(Text, Utf8IsCheckedStrictly) {
  EXPECT_TRUE(is_utf8("") && is_utf8("caf\xc3\xa9 \xe4\xb8\x80 \xf0\x9f\xa6\x8a"));
  for (const char* text : {"caf\xe9", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe4\xb8"})
    EXPECT_FALSE(is_utf8(text)) << text;
}

}  // namespace
}  // namespace wan
