#include "engine/serve/net/target.h"

#include <gtest/gtest.h>

#include "engine/serve/net/exchange.h"

namespace wan::serve {
namespace {

using Segments = std::vector<std::string>;

int refusal(const std::string& target, const std::string& method = "GET") {
  try {
    parse_target(method, target);
  } catch (const HttpError& error) {
    return error.answer.status;
  }
  return 0;
}

TEST(NetTarget, CutsThePathBeforeItIsDecoded) {
  const Target target = parse_target("GET", "/a%20b/c%2Fd/%C3%A4/");
  EXPECT_EQ(target.path, "/a b/c/d/\xc3\xa4/");
  EXPECT_EQ(target.segments, (Segments{"a b", "c/d", "\xc3\xa4"}));
  EXPECT_EQ(parse_target("GET", "/").segments, Segments{});
  EXPECT_EQ(parse_target("GET", "//a").segments, (Segments{"", "a"}));
}

TEST(NetTarget, DecodesTheQuery) {
  const Target target = parse_target("GET", "/p?a=1&b=x+y%2B%26&a=2&flag&&=z&bad=%zz%4&e=");
  const std::map<std::string, std::string> wanted = {{"a", "2"}, {"b", "x y+&"},   {"flag", ""},
                                                     {"", "z"},  {"bad", "%zz%4"}, {"e", ""}};
  EXPECT_EQ(target.query, wanted);
  EXPECT_EQ(target.path, "/p");
  EXPECT_EQ(parse_target("GET", "/p?u=http://x/?y=1").query.at("u"), "http://x/?y=1");
}

TEST(NetTarget, TakesTheFormsOfProxies) {
  EXPECT_EQ(parse_target("GET", "http://other:80/a/b?c=d").path, "/a/b");
  EXPECT_EQ(parse_target("GET", "HTTPS://other/a?c=d").query.at("c"), "d");
  EXPECT_EQ(parse_target("GET", "http://other").path, "/");
  EXPECT_EQ(parse_target("GET", "http://other?c=d").query.at("c"), "d");
  EXPECT_EQ(parse_target("OPTIONS", "*").path, "/");
  EXPECT_EQ(refusal("*"), 400);
  EXPECT_EQ(refusal("other:443", "CONNECT"), 400);
  EXPECT_EQ(refusal("ftp://other/a"), 400);
  EXPECT_EQ(refusal("http:///a"), 400);
}

TEST(NetTarget, RefusesTricks) {
  for (const char* path :
       {"/a/../b",        "/..",    "/.",    "/a/.",   "/%2e%2e/b",   "/%2E./b", "/a%2f..%2fb", "/a%2f..",
        "/%2e",           "/a%00b", "/a\\b", "/a%5cb", "/a%5C..%5Cb", "/a%0ab",  "/a%7f",       "/%ff",
        "/%c0%ae%c0%ae/", "/%",     "/%4",   "/%zz",   "/a#b",        "",        "a/b",         "?a",
        "/a?b=%00"}) {
    EXPECT_EQ(refusal(path), 400) << path;
  }
  for (const char* path : {"/...", "/.a", "/a..", "/a.b", "/%252e%252e", "/a?b=..%2f..", "/a?b=%ff"}) {
    EXPECT_EQ(refusal(path), 0) << path;
  }
}

}  // namespace
}  // namespace wan::serve
