// One HTTP request after another to a server, by libcurl: streamed both ways, watched, and stopped at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"

namespace wan::remote {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers = {};  // "Name: value"
  std::string body = {};                  // of POST and PUT
  std::string file = {};                  // sent instead of `body`, read piece by piece
  std::string label = {};                 // of the file's progress
};

struct HttpAnswer {
  long status = 0;
  std::string body;                    // what no sink took, at most 16 MiB
  std::optional<int64_t> retry_after;  // seconds
  bool stopped = false;                // the sink wanted no more
};

/// Why no answer came: "no connection to '127.0.0.1' at port 8000 (Connection refused)".
struct NoAnswer : std::runtime_error {
  NoAnswer(const std::string& why, bool sent, bool final) : std::runtime_error(why), sent(sent), final(final) {}
  bool sent;   // whether the server may have read something of the request
  bool final;  // asking again changes nothing: a certificate, a URL
};

/// Takes the content of a good answer piece by piece; false: no more is wanted.
using Sink = std::function<bool(std::string_view piece)>;

class Http {
 public:
  /// `progress` is asked several times a second whether to go on, and is told of files that are sent. Certificates are
  /// those of SSL_CERT_FILE, CURL_CA_BUNDLE and SSL_CERT_DIR where they are set, proxies those of the environment but for
  /// hosts of this machine.
  explicit Http(Progress& progress);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  /// Follows no redirect. With a sink the content of an answer 200 goes there, of others to `body`. A POST has a
  /// connection of its own, so that libcurl itself never sends it twice, and five seconds before an interrupt ends it. Throws NoAnswer, also where for a minute nothing
  /// is sent or comes; what `progress` and the sink throw; std::runtime_error where `file` cannot be read.
  HttpAnswer ask(const HttpRequest& request, const Sink& sink = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan::remote
