#include "models/files/public_url.h"

#include <algorithm>

namespace wan {
namespace {

/// Where the host begins in a URL whose authority begins at `begin`: behind the last @ of user name and password. A
/// password may hold / ? # that were not escaped: then what stands behind the first colon is no port.
size_t after_user(const std::string& url, size_t begin) {
  const size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const std::string authority = url.substr(begin, end - begin);
  if (const size_t at = authority.rfind('@'); at != std::string::npos) return begin + at + 1;
  const size_t colon = authority.find(':'), at = url.rfind('@');
  if (authority.starts_with('[') || colon == std::string::npos || at == std::string::npos || at < end) return begin;
  const bool port = authority.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  return port && url[end] == '/' ? begin : at + 1;
}

}  // namespace

std::string public_url(const std::string& url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos || url.starts_with("data:")) return url;
  const size_t host = after_user(url, scheme + 3);
  const size_t end = url.find_first_of("?#", host);
  return url.substr(0, scheme + 3) + url.substr(host, end == std::string::npos ? end : end - host);
}

}  // namespace wan
