// Downloads from servers that answer rightly, oddly, without end or not at all.
#include "engine/media/download.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

#include "engine/base/error.h"
#include "engine/media/public_address.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"
#include "tests/support/web_server.h"

namespace wan {
namespace {

using namespace std::chrono_literals;

/// Limits that a test waits for: tenths of seconds.
DownloadLimits quick() {
  return {.most_bytes = 4 << 20, .whole = 5s, .connect = 2s, .answer = 300ms, .rate_over = 300ms, .most_redirects = 3};
}

/// What came, or the message without what every one begins with.
struct Got {
  std::string content, error;
};

Got get(const std::string& url, const DownloadLimits& limits = quick(), Progress* progress = nullptr) {
  const TemporaryFolder folder;
  const std::string path = folder / "copy";
  Silent silent;
  Got got;
  try {
    AtomicFile file(path);
    download(url, "image_url", file, limits, progress ? *progress : silent);
    file.commit();
    got.content = bytes_of(path);
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "image_url");
    const std::string wrong = invalid.errors.at(0).wrong, begin = "must be a URL that can be read, got '";
    EXPECT_TRUE(wrong.starts_with(begin)) << wrong;
    got.error = wrong.substr(std::min(wrong.find("': ", begin.size()) + 3, wrong.size()));
  }
  EXPECT_EQ(std::filesystem::exists(path), got.error.empty());
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  return got;
}

/// Answers each path by its own handler.
WebServer::Handler by_path(std::map<std::string, WebServer::Handler> handlers) {
  return [handlers = std::move(handlers)](WebClient& client) {
    std::string path = client.path;  // %C3 and %c3 are the same
    std::transform(path.begin(), path.end(), path.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    const auto found = handlers.find(path);
    found == handlers.end() ? client.answer("404 Not Found", "", "<html>no</html>") : found->second(client);
  };
}

/// Sends the bytes as they are, and ends.
WebServer::Handler raw(const std::string& bytes) {
  return [bytes](WebClient& client) { client.send(bytes); };
}

/// `first`, then `more` every few milliseconds until somebody stops.
WebServer::Handler endless(const std::string& first, const std::string& more, int milliseconds = 0) {
  return [=](WebClient& client) {
    if (!client.send(first)) return;
    while ((milliseconds == 0 || client.wait(milliseconds)) && client.send(more)) {
    }
  };
}

WebServer::Handler redirect(const std::string& to, const std::string& status = "302 Found") {
  return [=](WebClient& client) { client.answer(status, "Location: " + to + "\r\n", "moved"); };
}

const std::string kOk = "HTTP/1.1 200 OK\r\n", kZeros(1 << 16, '\0');

TEST(Download, TakesWhatIsWhole) {
  const std::string chunks = "5\r\nwhole\r\n1;x=y\r\n \r\n4\r\nfile\r\n0\r\nTrailer: x\r\n\r\n", file = "whole file";
  const WebServer server(by_path({
      {"/length", [&](WebClient& client) { client.answer("200 OK", "", file); }},
      {"/chunks", raw(kOk + "Transfer-Encoding: chunked\r\n\r\n" + chunks)},
      {"/1.0", raw("HTTP/1.0 200 OK\r\n\r\n" + file)},
      {"/1.1", raw(kOk + "\r\n" + file)},
      {"/203", [&](WebClient& client) { client.answer("203 Non-Authoritative", "", file); }},
      {"/continue", raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + kOk +
                        "Content-Length: 10\r\n\r\n" + file)},
      {"/a%20b%c3%a9.png?x=%20", [&](WebClient& client) { client.answer("200 OK", "", file); }},
      // gzip's container around a block that is not packed.
      {"/gzip",
       [&](WebClient& client) {
         client.answer("200 OK", "Content-Encoding: gzip\r\n",
                       std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x0a\0\xf5\xff", 15) + file +
                           std::string("\x4c\x19\x5a\x61\x0a\0\0\0", 8));
       }},
  }));
  for (const char* path :
       {"/length", "/chunks", "/1.0", "/1.1", "/203", "/continue", "/a b\u00e9.png?x=%20#fragment"}) {
    const Got got = get(server.url(path));
    EXPECT_EQ(got.content, file) << path << ": " << got.error;
  }
  const std::string asked = server.last_headers();
  EXPECT_NE(asked.find("user-agent: wan-infer/"), asked.npos) << asked;
  EXPECT_NE(asked.find("accept-encoding: identity\r\n"), asked.npos) << asked;
  EXPECT_EQ(get("HTTP" + server.url("/length").substr(4)).content, file);
}

TEST(Download, LengthsAreKept) {
  const WebServer server(by_path({
      {"/short", raw(kOk + "Content-Length: 100\r\n\r\nhalf")},
      {"/cut", raw(kOk + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")},
      {"/cut_chunk", raw(kOk + "Transfer-Encoding: chunked\r\n\r\n100\r\nhalf")},
      {"/no_chunks", raw(kOk + "Transfer-Encoding: chunked\r\n\r\nthis is no chunk\r\n")},
      {"/empty", raw(kOk + "Content-Length: 0\r\n\r\n")},
      {"/nothing", raw(kOk + "\r\n")},
      {"/204", raw("HTTP/1.1 204 No Content\r\n\r\n")},
      {"/206", [](WebClient& client) { client.answer("206 Partial", "Content-Range: bytes 0-3/10\r\n", "part"); }},
      {"/silence", raw("")},
      {"/reset", raw("HTTP/1.1 2")},
      {"/text", raw("this is no HTTP\r\n\r\n")},
      {"/length", raw(kOk + "Content-Length: many\r\n\r\nhalf")},
  }));
  EXPECT_EQ(get(server.url("/short")).error, "the connection ended after 4 of 100 bytes");
  EXPECT_EQ(get(server.url("/cut")).error, "the connection ended after 4 bytes, before the end");
  EXPECT_EQ(get(server.url("/cut_chunk")).error, "the connection ended after 4 bytes, before the end");
  EXPECT_EQ(get(server.url("/no_chunks")).error, "the connection broke off after 0 bytes");
  EXPECT_EQ(get(server.url("/empty")).error, "it is empty");
  EXPECT_EQ(get(server.url("/nothing")).error, "it is empty");
  EXPECT_EQ(get(server.url("/204")).error, "the server answers 204 (no content)");
  EXPECT_EQ(get(server.url("/206")).error, "the server answers 206 (only a part)");
  EXPECT_EQ(get(server.url("/silence")).error, "the server ended the connection without an answer");
  EXPECT_EQ(get(server.url("/text")).error, "the answer is not HTTP");
  EXPECT_EQ(get(server.url("/length")).error, "the answer is not HTTP");
  EXPECT_FALSE(get(server.url("/reset")).error.empty());
}

TEST(Download, StatusesAreTold) {
  const WebServer server(
      [](WebClient& client) { client.answer(client.path.substr(1) + " Status", "", std::string(100, 'x')); });
  EXPECT_EQ(get(server.url("/404")).error, "the server answers 404 (not found)");
  EXPECT_EQ(get(server.url("/500")).error, "the server answers 500 (error in the server)");
  EXPECT_EQ(get(server.url("/418")).error, "the server answers 418");
  EXPECT_EQ(get(server.url("/401")).error,
            "the server answers 401 (name and password wanted); a URL can hold them: http://NAME:PASSWORD@HOST/...");
  EXPECT_EQ(get(server.url("/300")).error, "the server answers 300 (several choices) and not where it is now");
  EXPECT_EQ(get(server.url("/301")).error, "the server answers 301 (moved) and not where it is now");
  EXPECT_EQ(get(server.url("/304")).error, "the server answers 304 (not modified)");
}

// A packed body that is none made a reader without end; one that unpacks to too much is stopped by its size.
TEST(Download, WhatIsNotPackedAsItSays) {
  const WebServer server(by_path({
      {"/gzip", [](WebClient& client) { client.answer("200 OK", "Content-Encoding: gzip\r\n", "this is no gzip"); }},
      {"/deflate", [](WebClient& client) { client.answer("200 OK", "Content-Encoding: deflate\r\n", "\xff\xff\xff"); }},
      {"/endless", endless(kOk + "Content-Encoding: gzip\r\n\r\n", "this is no gzip")},
      {"/unknown", [](WebClient& client) { client.answer("200 OK", "Content-Encoding: x-new\r\n", "?"); }},
  }));
  for (const char* path : {"/gzip", "/deflate", "/endless", "/unknown"})
    EXPECT_EQ(get(server.url(path)).error, "the content is not packed as the server says") << path;
}

TEST(Download, EndsWhereAServerDoesNot) {
  const std::string slow = "no content comes within 300 ms; download it yourself and give the file";
  const WebServer server(by_path({
      {"/body", endless(kOk + "\r\n", kZeros)},
      {"/long", endless(kOk + "Content-Length: 99999999999\r\n\r\n", kZeros)},
      {"/error", endless("HTTP/1.1 404 Not Found\r\n\r\n", kZeros)},
      {"/redirect", endless("HTTP/1.1 301 Moved\r\n\r\n", kZeros)},
      {"/headers", endless(kOk, "X-More: " + std::string(500, 'x') + "\r\n")},
      {"/line", endless(kOk + "X-More: ", std::string(500, 'x'))},
      {"/continue", endless("", "HTTP/1.1 100 Continue\r\n\r\n")},
      {"/silent", [](WebClient& client) { client.wait(10000); }},
      {"/slow_headers", endless(kOk, "X: y\r\n", 100)},
      {"/slow_start", endless(kOk + "Content-Length: 9\r\n\r\n", "", 100)},
      {"/slow", endless(kOk + "\r\n", "x", 50)},
      {"/steady", endless(kOk + "\r\n", std::string(1000, 'x'), 10)},
  }));
  EXPECT_EQ(get(server.url("/body")).error.substr(0, 16), "it has at least ");
  EXPECT_EQ(get(server.url("/long")).error, "it has 99999999999 bytes, at most 4194304 are read");
  EXPECT_EQ(get(server.url("/error")).error, "the server answers 404 (not found)");
  EXPECT_EQ(get(server.url("/redirect")).error, "the server answers 301 (moved) and not where it is now");
  EXPECT_EQ(get(server.url("/headers")).error, "its headers have more than 262144 bytes");
  EXPECT_EQ(get(server.url("/line")).error, "the headers of the answer are too long");
  EXPECT_EQ(get(server.url("/continue")).error, "its headers have more than 262144 bytes");
  EXPECT_EQ(get(server.url("/silent")).error, slow);
  EXPECT_EQ(get(server.url("/slow_headers")).error, slow);
  EXPECT_EQ(get(server.url("/slow_start")).error, slow);
  const std::string rate = get(server.url("/slow")).error;
  EXPECT_TRUE(rate.starts_with("less than 1000 bytes a second come, ")) << rate;
  DownloadLimits brief = quick();
  brief.whole = 400ms;
  EXPECT_EQ(get(server.url("/steady"), brief).error,
            "it takes longer than 400 ms; download it yourself and give the file");
}

TEST(Download, LeavesRoomOnTheDisk) {
  const WebServer server(by_path({
      {"/length", [](WebClient& client) { client.answer("200 OK", "", "small"); }},
      {"/body", endless(kOk + "\r\n", kZeros)},
  }));
  DownloadLimits full = quick();
  full.free_bytes = uint64_t(1) << 60;
  for (const char* path : {"/length", "/body"}) {
    const std::string error = get(server.url(path), full).error;
    EXPECT_TRUE(error.starts_with("the disk has ")) << error;
    EXPECT_TRUE(error.ends_with(" must stay free; make room, or work on another disk (--out, --work)")) << error;
  }
}

struct Stop : Progress {
  explicit Stop(int after) : left(after) {}
  void at(const Report& report) override { last = report; }
  void check() override {
    if (left-- == 0) throw Cancelled();
  }
  int left;
  Report last = {};
};

TEST(Download, AnInterruptEndsItAtOnceAndLeavesNothing) {
  const WebServer server(by_path({
      {"/silent", [](WebClient& client) { client.wait(10000); }},
      {"/slow", endless(kOk + "Content-Length: 1000000\r\n\r\n", "x", 20)},
  }));
  for (const char* path : {"/silent", "/slow"}) {
    const TemporaryFolder folder;
    Stop stop(2);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THROW(
        {
          AtomicFile file(folder / "copy");
          download(server.url(path), "image_url", file, DownloadLimits{}, stop);
        },
        Cancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

TEST(Download, SaysHowFarItIs) {
  const WebServer server(endless(kOk + "Content-Length: 1000000\r\n\r\n", "xxxxxxxxxx", 10));
  const TemporaryFolder folder;
  Stop stop(130);
  AtomicFile file(folder / "copy");
  EXPECT_THROW(download(server.url("/"), "image_url", file, DownloadLimits{}, stop, "2/3 b.mp4"), Cancelled);
  EXPECT_EQ(stop.last.stage, Stage::Fetch);
  EXPECT_EQ(stop.last.steps, 1000000);
  EXPECT_GT(stop.last.step, 0);
  EXPECT_EQ(stop.last.job, "2/3 b.mp4");
}

TEST(Download, RedirectsAreFollowedUnderTheSameRules) {
  const WebServer other(by_path({{"/file", [](WebClient& client) { client.answer("200 OK", "", "other file"); }}}));
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", "a file"); }},
      {"/relative", redirect("file", "307 Temporary")},
      {"/absolute", redirect("/file", "308 Permanent")},
      {"/spaces", redirect("/a b", "303 See Other")},
      {"/a%20b", redirect("/file", "300 Choices")},
      {"/other", redirect(other.url("/file"))},
      {"/gone", redirect(other.url("/gone?token=secret"))},
      {"/loop", redirect("/loop")},
      {"/disk", redirect("file:///etc/passwd")},
      {"/ftp", redirect("ftp://anna:secret@127.0.0.1/x")},
      {"/words", redirect("http://")},
      {"/script", redirect("gopher://127.0.0.1/x")},
  }));
  for (const char* path : {"/relative", "/absolute", "/spaces"})
    EXPECT_EQ(get(server.url(path)).content, "a file") << path;
  EXPECT_EQ(get(server.url("/other")).content, "other file");
  EXPECT_EQ(get(server.url("/gone")).error,
            "it leads to '" + other.url("/gone") + "': the server answers 404 (not found)");
  EXPECT_EQ(get(server.url("/loop")).error, "it redirects more than 3 times");
  EXPECT_EQ(get(server.url("/disk")).error, "it redirects to 'file:///etc/passwd', which is not http or https");
  EXPECT_EQ(get(server.url("/ftp")).error, "it redirects to 'ftp://127.0.0.1/x', which is not http or https");
  EXPECT_EQ(get(server.url("/words")).error, "it redirects to what is not a valid URL");
  EXPECT_EQ(get(server.url("/script")).error, "it redirects to 'gopher://127.0.0.1/x', which is not http or https");
}

// "bmFtZTpwYXNz" is name:pass.
TEST(Download, NameAndPasswordGoToTheirOwnHostAlone) {
  const WebServer other([](WebClient& client) { client.answer("200 OK", "", client.headers); });
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", client.headers); }},
      {"/here", redirect("/file")},
      {"/there", redirect(other.url("/file"))},
      {"/with", redirect(other.url("/file", "eve:eve@"))},
  }));
  for (const char* path : {"/file", "/here"}) {
    const std::string asked = get(server.url(path, "name:pass@")).content;
    EXPECT_NE(asked.find("authorization: basic bmftztpwyxnz"), asked.npos) << asked;
  }
  for (const char* path : {"/there", "/with"}) {
    const std::string asked = get(server.url(path, "name:pass@")).content;
    EXPECT_NE(asked.find("host: 127.0.0.1"), asked.npos) << asked;
    EXPECT_EQ(asked.find("authorization"), asked.npos) << asked;
  }
}

/// 127.0.0.1 with one port alone.
std::function<bool(const sockaddr&)> only_port(int port) {
  return [port](const sockaddr& address) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return address.sa_family == AF_INET && ntohs(v4.sin_port) == port;
  };
}

TEST(Download, AddressesAreCheckedWhereItConnects) {
  const WebServer inside([](WebClient& client) { client.answer("200 OK", "", "a secret"); });
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", "a file"); }},
      {"/inside", redirect(inside.url("/"))},
  }));
  DownloadLimits limits = quick();
  limits.may_connect = only_port(server.port());
  EXPECT_EQ(get(server.url("/file"), limits).content, "a file");
  EXPECT_EQ(get(server.url("/inside"), limits).error,
            "it leads to '" + inside.url("/") +
                "': '127.0.0.1' is in a private or local network; without --no-private-urls it may be asked");
  EXPECT_EQ(inside.requests(), 0);
  setenv("http_proxy", inside.url("").c_str(), 1);
  EXPECT_EQ(get(server.url("/file"), limits).content, "a file") << "without the proxy";
  unsetenv("http_proxy");
}

// However it is written: what counts is where the connection would go.
TEST(Download, NamesOfThisMachine) {
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", "a secret"); });
  DownloadLimits limits = quick();
  limits.may_connect = is_public_address;
  for (const char* host : {"localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::1]",
                           "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"}) {
    const std::string error =
        get(std::string("http://") + host + ":" + std::to_string(server.port()) + "/", limits).error;
    EXPECT_TRUE(error.ends_with("is in a private or local network; without --no-private-urls it may be asked"))
        << host << ": " << error;
  }
  EXPECT_EQ(server.requests(), 0);
}

bool is_public(const std::string& text) {
  sockaddr_storage place{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(place);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(place);
  place.ss_family = text.find(':') == text.npos ? AF_INET : AF_INET6;
  void* bytes = place.ss_family == AF_INET ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr;
  EXPECT_EQ(inet_pton(place.ss_family, text.c_str(), bytes), 1) << text;
  return is_public_address(reinterpret_cast<const sockaddr&>(place));
}

TEST(PublicAddress, ByNetwork) {
  for (const char* address : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255",
                              "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255", "169.253.0.1",
                              "2606:4700::1111", "2a00::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::"})
    EXPECT_TRUE(is_public(address)) << address;
  for (const char* address : {"0.0.0.0",
                              "0.1.2.3",
                              "10.255.255.255",
                              "100.64.0.1",
                              "100.127.255.255",
                              "100.100.100.200",
                              "127.255.255.255",
                              "169.254.169.254",
                              "172.16.0.0",
                              "172.31.255.255",
                              "192.168.0.1",
                              "198.19.0.1",
                              "224.0.0.1",
                              "239.1.1.1",
                              "255.255.255.255",
                              "168.63.129.16",
                              "::",
                              "::1",
                              "fe80::1",
                              "fec0::1",
                              "fc00::1",
                              "fdff::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1",
                              "64:ff9b::10.0.0.1",
                              "64:ff9b:1::1",
                              "2002:7f00:1::",
                              "2002:a00:1::",
                              "2001::1",
                              "2001:db8::1",
                              "100::1"})
    EXPECT_FALSE(is_public(address)) << address;
  const sockaddr other{.sa_family = AF_UNIX, .sa_data = {}};
  EXPECT_FALSE(is_public_address(other));
}

TEST(Download, ProxiesOfTheEnvironment) {
  const WebServer proxy([](WebClient& client) {
    if (client.path.ends_with("/denied")) return client.answer("407 Proxy Authentication Required", "", "");
    client.answer("200 OK", "", client.path + " " + client.headers);
  });
  setenv("http_proxy", proxy.url("", "anna:secret@").c_str(), 1);
  const std::string seen = get("http://nobody.invalid/x").content;
  EXPECT_TRUE(seen.starts_with("http://nobody.invalid/x ")) << seen;
  EXPECT_NE(seen.find("proxy-authorization: basic"), seen.npos) << seen;
  EXPECT_EQ(get("http://nobody.invalid/denied").error,
            "the proxy of the environment answers 407 (name and password wanted)");
  setenv("http_proxy", "http://anna:secret@127.0.0.1:1", 1);
  EXPECT_EQ(get("http://nobody.invalid/x").error,
            "no connection to 'nobody.invalid' at port 80 (Connection refused), or to the proxy of the environment");
  setenv("http_proxy", "http://anna:secret@proxy.invalid:1", 1);
  EXPECT_EQ(get("http://nobody.invalid/x").error, "the proxy of the environment is not known by its name");
  unsetenv("http_proxy");
}

TEST(Download, NoSecretIsInAMessage) {
  const WebServer server([](WebClient& client) { client.answer("404 Not Found", "", "no"); });
  try {
    const TemporaryFolder folder;
    AtomicFile file(folder / "copy");
    Silent silent;
    download(server.url("/x.png?token=secret#secret", "anna:secret@"), "image_url", file, quick(), silent);
    ADD_FAILURE() << "nothing was wrong";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.what(), "[image_url] must be a URL that can be read, got '" + server.url("/x.png") +
                                  "': the server answers 404 (not found)");
  }
}

TEST(Download, HostsThatAreNotThere) {
  int port;
  {
    const WebServer gone([](WebClient&) {});
    port = gone.port();
  }
  const std::string at = std::to_string(port);
  EXPECT_EQ(get("http://127.0.0.1:" + at + "/").error,
            "no connection to '127.0.0.1' at port " + at + " (Connection refused)");
  EXPECT_EQ(get("http://nobody.invalid/x").error, "the host 'nobody.invalid' is not known");
  for (const char* url : {"http://", "https://[::1", "http://a b/"})
    EXPECT_EQ(get(url).error, "it is not a valid URL") << url;
}

}  // namespace
}  // namespace wan
