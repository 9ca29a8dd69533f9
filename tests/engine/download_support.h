// What tests of downloads share: short limits, what came of a download, and ways to answer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "engine/base/error.h"
#include "engine/fetch/download.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"
#include "tests/support/web_server.h"

namespace wan {

using namespace std::chrono_literals;

/// Limits that a test waits for: tenths of seconds.
inline DownloadLimits quick() {
  return {.most_bytes = 4 << 20, .whole = 5s, .connect = 2s, .answer = 300ms, .rate_over = 300ms, .most_redirects = 3};
}

/// What came, or the message without what every one begins with.
struct Got {
  std::string content, error;
};

inline Got get(const std::string& url, const DownloadLimits& limits = quick(), Progress* progress = nullptr) {
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
inline WebServer::Handler by_path(std::map<std::string, WebServer::Handler> handlers) {
  return [handlers = std::move(handlers)](WebClient& client) {
    std::string path = client.path;  // %C3 and %c3 are the same
    std::transform(path.begin(), path.end(), path.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    const auto found = handlers.find(path);
    found == handlers.end() ? client.answer("404 Not Found", "", "<html>no</html>") : found->second(client);
  };
}

/// Sends the bytes as they are, and ends.
inline WebServer::Handler raw(const std::string& bytes) {
  return [bytes](WebClient& client) { client.send(bytes); };
}

/// `first`, then `more` every few milliseconds until somebody stops.
inline WebServer::Handler endless(const std::string& first, const std::string& more, int milliseconds = 0) {
  return [=](WebClient& client) {
    if (!client.send(first)) return;
    while ((milliseconds == 0 || client.wait(milliseconds)) && client.send(more)) {
    }
  };
}

inline WebServer::Handler redirect(const std::string& to, const std::string& status = "302 Found") {
  return [=](WebClient& client) { client.answer(status, "Location: " + to + "\r\n", "moved"); };
}

inline const std::string kOk = "HTTP/1.1 200 OK\r\n", kZeros(1 << 16, '\0');

}  // namespace wan
