// The parts of an http(s) URL that a download needs. Included by this folder's .cpp files only.
#pragma once

#include <optional>
#include <string>

namespace wan {

struct WebAddress {
  std::string url;  // without user name, password and fragment
  std::string scheme, host, port;
  std::string user, password;  // as the server gets them: not percent-encoded

  bool same_host(const WebAddress& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

/// The parts of `text`, which may be relative to `base`. Spaces and letters outside of ASCII are encoded. Nothing where
/// it is no URL. Other schemes than http and https are read, too.
std::optional<WebAddress> parse_address(const std::string& text, const std::string& base = {});

}  // namespace wan
