// A question to a server in JSON and its answer, by libcurl: within limits of time and size, and stopped at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "engine/base/progress.h"

namespace wan {

struct JsonPost {
  std::string url;  // http or https
  std::string key;  // sent as "Authorization: Bearer KEY"; empty: none is
  std::string body;
};

struct PostLimits {
  std::chrono::milliseconds whole = std::chrono::minutes(2);  // from the first connection to the last byte
  std::chrono::milliseconds connect = std::chrono::seconds(10);
  size_t most_bytes = 1 << 20;  // of the answer, unpacked
};

struct PostAnswer {
  long status = 0;
  std::string body;
};

/// No answer came, or none that could be read; the text says why, in one line that names neither URL nor host nor key: it
/// may be written into a video.
struct NoPostAnswer : std::runtime_error {
  NoPostAnswer(const std::string& why, bool silent) : std::runtime_error(why), silent(silent) {}
  bool silent;  // nobody is there, or nothing came in time: another question would end in the same way
};

/// Sends the question once, and gives the answer whatever its status is. Redirects are not followed: the key is for the
/// server that was named alone. That may be in a private network, since the user named it. Certificates and proxies as
/// for downloads (engine/fetch/download.h), but for this machine no proxy is asked. Throws NoPostAnswer, and Cancelled or
/// Withdrawn as `progress` does, which is asked several times a second.
PostAnswer post_json(const JsonPost& question, const PostLimits& limits, Progress& progress);

}  // namespace wan
