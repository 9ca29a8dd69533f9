// Downloads from servers that answer rightly, oddly, without end or not at all.
#include "tests/engine/download_support.h"

namespace wan {
namespace {

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

}  // namespace
}  // namespace wan
