// Uploads in parts, and URLs that are signed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/serve/api/signed_urls.h"
#include "engine/serve/api/upload_parts.h"
#include "engine/serve/api/uploads.h"
#include "tests/serve/api_exchange.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

class Parts : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root);
    fs::create_directories(root);
    parts.begin(upload);
  }
  void TearDown() override { fs::remove_all(root); }

  void take(int64_t number, const std::string& tag, const std::string& bytes) {
    std::ofstream(root / "written", std::ios::binary) << bytes;
    parts.take(root / "written", number, tag);
  }
  std::string whole() const {
    std::ostringstream text;
    text << std::ifstream(root / "whole", std::ios::binary).rdbuf();
    return text.str();
  }

  const fs::path root = fs::temp_directory_path() / ("wan-parts-" + std::to_string(getpid()));
  const UploadParts parts{root / "upload"};
  const UploadName upload{.file = "f", .owner = "o", .type = "t", .quota = 0};
};

TEST_F(Parts, AreJoinedByTheirNumbers) {
  take(10, "aa", "third");
  take(2, "bb", "second");
  take(1, "cc", "first");
  EXPECT_EQ(parts.join({{2, "\"bb\""}, {10, "aa"}, {1, "\"cc\""}}, root / "whole"), 16u);
  EXPECT_EQ(whole(), "firstsecondthird");
  EXPECT_FALSE(parts.upload().has_value()) << "its folder is gone";
}

TEST_F(Parts, AreReplacedByTheirNumbers) {
  take(1, "aa", "old");
  take(1, "bb", "new");
  take(2, "cc", "2");
  EXPECT_EQ(parts.bytes_without(2), 3u);
  EXPECT_EQ(parts.bytes_without(1), 1u);
  EXPECT_FALSE(parts.join({{1, "aa"}}, root / "whole").has_value());
  EXPECT_EQ(parts.join({{1, "bb"}}, root / "whole"), 3u) << "part 2 was not listed";
  EXPECT_EQ(whole(), "new");
}

TEST_F(Parts, ThatAreNotThereAreRefused) {
  take(1, "aa", "1");
  using List = std::vector<ListedPart>;
  for (const List& list : {List{}, List{{2, "aa"}}, List{{1, "aa"}, {1, "aa"}}, List{{1, "../../x"}}, List{{1, ""}},
                           List{{1, "aa"}, {2, "bb"}}, List{{-1, "aa"}}})
    EXPECT_FALSE(parts.join(list, root / "whole").has_value()) << list.size();
  EXPECT_FALSE(fs::exists(root / "whole"));
  EXPECT_EQ(parts.upload()->owner, "o");
}

/// The query of a URL.
std::map<std::string, std::string> parameters(const std::string& query) {
  std::map<std::string, std::string> result;
  std::istringstream text(query.substr(1));
  for (std::string part; std::getline(text, part, '&');)
    result[part.substr(0, part.find('='))] = part.substr(part.find('=') + 1);
  return result;
}

TEST(SignedUrls, AllowTheirUploadForADay) {
  const SignedUrls urls;
  const std::string file = std::string(32, 'a') + "_x.png";
  const UploadName upload{.file = file, .owner = "alice", .type = "png", .quota = 5};
  const int64_t now = 1'764'000'000'000, day = 24 * 3600 * 1000;
  ApiExchange exchange;
  exchange.parameters = parameters(urls.query(upload, "", now));
  const UploadName read = urls.check(exchange, file, "", now + day - 1000);
  EXPECT_EQ(read.owner, "alice");
  EXPECT_EQ(read.type, "png");
  EXPECT_EQ(read.quota, 5u);
  EXPECT_THROW(urls.check(exchange, file, "", now + day + 1000), HttpError);
}

TEST(SignedUrls, AllowNothingElse) {
  const SignedUrls urls;
  const std::string file = std::string(32, 'a') + "_x.png";
  const UploadName upload{.file = file, .owner = "alice", .type = "png", .quota = 5};
  ApiExchange exchange;
  const auto good = parameters(urls.query(upload, "p", 0));
  exchange.parameters = good;
  EXPECT_NO_THROW(urls.check(exchange, file, "p", 0));
  EXPECT_THROW(urls.check(exchange, file, "", 0), HttpError);
  EXPECT_THROW(urls.check(exchange, std::string(32, 'b') + "_x.png", "p", 0), HttpError);
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"owner", "bob"}, {"type", "gif"}, {"quota", "6"}, {"expires", "99999999999"}, {"signature", ""}}) {
    exchange.parameters = good;
    exchange.parameters[name] = value;
    EXPECT_THROW(urls.check(exchange, file, "p", 0), HttpError) << name;
    exchange.parameters.erase(name);
    EXPECT_THROW(urls.check(exchange, file, "p", 0), HttpError) << name;
  }
  exchange.parameters = good;
  EXPECT_THROW(SignedUrls().check(exchange, file, "p", 0), HttpError) << "another process's";
}

TEST(Uploads, KeepPlainTypesAlone) {
  EXPECT_EQ(plain_type("image/png"), "image/png");
  EXPECT_EQ(plain_type("text/html; charset=utf-8"), "text/html; charset=utf-8");
  for (const char* type : {"", "png", "image/png\r\nX: y", "image/\xC3\xA4"})
    EXPECT_EQ(plain_type(type), "application/octet-stream") << type;
  EXPECT_EQ(plain_type("image/" + std::string(200, 'x')), "application/octet-stream");
}

TEST(Uploads, UrlsAreEncoded) {
  EXPECT_EQ(url_encoded("a b/c&d=e?%\xC3\xA4-._~"), "a%20b%2fc%26d%3de%3f%25%c3%a4-._~");
}

}  // namespace
}  // namespace wan::serve
