// Uploads in parts, and URLs that are signed.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "engine/serve/api/signed_urls.h"
#include "engine/serve/api/upload_parts.h"
#include "engine/serve/api/uploads.h"
#include "tests/serve/api_exchange.h"
#include "tests/serve/disk_faults.h"

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

TEST_F(Parts, StayWhereTheyCannotBeJoined) {
  take(1, "aa", "first");
  take(2, "bb", "second");
  std::ofstream(root / "taken") << "another file";
  EXPECT_THROW(parts.join({{1, "aa"}, {2, "bb"}}, root / "taken"), std::system_error);
  EXPECT_EQ(parts.join({{1, "aa"}, {2, "bb"}}, root / "whole"), 11u);
  EXPECT_EQ(whole(), "firstsecond");
}

TEST_F(Parts, OfAFullDiskStayAndLeaveNoHalfFile) {
  take(1, "aa", std::string(1 << 20, 'x'));
  const rlimit small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(parts.join({{1, "aa"}}, root / "whole"), std::system_error);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_FALSE(fs::exists(root / "whole"));
  EXPECT_EQ(parts.join({{1, "aa"}}, root / "whole"), 1u << 20);
}

TEST_F(Parts, AreThereAgainWhereTheyCannotBeJoined) {
  take(1, "aa", "one");
  take(2, "bb", "two");
  {
    const DiskFault full(disk_faults().of_copies, ENOSPC);
    try {
      parts.join({{1, "aa"}, {2, "bb"}}, root / "whole");
      ADD_FAILURE() << "a full disk";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code().value(), ENOSPC);
    }
  }
  EXPECT_FALSE(fs::exists(root / "whole"));
  EXPECT_FALSE(parts.is_closed());
  EXPECT_EQ(parts.join({{1, "aa"}, {2, "bb"}}, root / "whole"), 6u);
  EXPECT_TRUE(parts.is_closed());
  parts.reopen();
  fs::remove(root / "whole");
  EXPECT_EQ(parts.listed_bytes({{2, "bb"}, {1, "aa"}}), 6u);
  EXPECT_EQ(parts.join({{1, "aa"}, {2, "bb"}}, root / "whole"), 6u);
  parts.remove();
  EXPECT_FALSE(parts.is_closed());
}

/// The query of a URL.
std::map<std::string, std::string> parameters(const std::string& query) {
  std::map<std::string, std::string> result;
  std::istringstream text(query.substr(1));
  for (std::string part; std::getline(text, part, '&');)
    result[part.substr(0, part.find('='))] = part.substr(part.find('=') + 1);
  return result;
}

Access::Options with_keys(const std::vector<std::string>& names) {
  Access::Options options;
  for (const std::string& name : names)
    options.keys.push_back({.name = name, .hash = name, .admin = false, .quota = {}});
  options.listen = "127.0.0.1:8000";
  return options;
}

TEST(SignedUrls, AllowTheirUploadForADay) {
  const SignedUrls urls;
  const Access access(with_keys({"alice", "bob"}));
  const std::string file = std::string(32, 'a') + "_x.png";
  const UploadName upload{.file = file, .owner = "alice", .type = "png", .quota = 5};
  const int64_t now = 1'764'000'000'000, day = 24 * 3600 * 1000;
  ApiExchange exchange;
  exchange.parameters = parameters(urls.query(access, upload, "", now));
  const UploadName read = urls.check(exchange, access, file, "", now + day - 1000);
  EXPECT_EQ(read.owner, "alice");
  EXPECT_EQ(read.type, "png");
  EXPECT_EQ(read.quota, 5u);
  EXPECT_THROW(urls.check(exchange, access, file, "", now + day + 1000), HttpError);
}

TEST(SignedUrls, AllowNothingElse) {
  const SignedUrls urls;
  const Access access(with_keys({"alice", "bob"}));
  const std::string file = std::string(32, 'a') + "_x.png";
  const UploadName upload{.file = file, .owner = "alice", .type = "png", .quota = 5};
  ApiExchange exchange;
  const auto good = parameters(urls.query(access, upload, "p", 0));
  exchange.parameters = good;
  EXPECT_NO_THROW(urls.check(exchange, access, file, "p", 0));
  EXPECT_THROW(urls.check(exchange, access, file, "", 0), HttpError);
  EXPECT_THROW(urls.check(exchange, access, std::string(32, 'b') + "_x.png", "p", 0), HttpError);
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"owner", "bob"}, {"type", "gif"}, {"quota", "6"}, {"expires", "99999999999"}, {"signature", ""}}) {
    exchange.parameters = good;
    exchange.parameters[name] = value;
    EXPECT_THROW(urls.check(exchange, access, file, "p", 0), HttpError) << name;
    exchange.parameters.erase(name);
    EXPECT_THROW(urls.check(exchange, access, file, "p", 0), HttpError) << name;
  }
  exchange.parameters = good;
  EXPECT_THROW(SignedUrls().check(exchange, access, file, "p", 0), HttpError) << "another process's";
}

TEST(SignedUrls, EndWithTheirKey) {
  const SignedUrls urls;
  const std::string file = std::string(32, 'a') + "_x.png";
  const UploadName upload{.file = file, .owner = "alice", .type = "png", .quota = 5};
  ApiExchange exchange;
  Access access(with_keys({"alice", "bob"}));
  exchange.parameters = parameters(urls.query(access, upload, "", 0));
  access.replace_keys(with_keys({"alice"}).keys);
  EXPECT_EQ(urls.check(exchange, access, file, "", 0).owner, "alice");
  access.replace_keys(with_keys({"bob"}).keys);
  EXPECT_THROW(urls.check(exchange, access, file, "", 0), HttpError);
  std::vector<Key> others = with_keys({"alice"}).keys;
  others[0].hash = "another key under this name";
  access.replace_keys(others);
  EXPECT_THROW(urls.check(exchange, access, file, "", 0), HttpError);
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
