#include "engine/request/expander_url.h"

#include <algorithm>
#include <cctype>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan {
namespace {

constexpr size_t kLongest = 2048;
constexpr const char* kChat = "/chat/completions";

/// Whether a segment of a path names a version: v1, v2, v1beta.
bool is_version(const std::string& segment) {
  return segment.size() > 1 && segment[0] == 'v' && segment[1] >= '0' && segment[1] <= '9';
}

bool names_version(const std::string& path) {
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (is_version(path.substr(at, end - at))) return true;
    at = end + 1;
  }
  return false;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

}  // namespace

Note expansion_note(const Request& request) {
  return {"enable_prompt_expansion",
          "the render asks " + shown_url(chat_address(request.expander_url)) +
              (request.expander_model.empty() ? "" : ", model " + shown(request.expander_model)) +
              ", to write the prompt out; nobody is asked now"};
}

std::string chat_address(const std::string& url, const std::string& field) {
  const auto refuse = [&](const std::string& why) {
    throw InvalidRequest(
        field, "must be the URL of a language server, as http://127.0.0.1:8080, got " + shown_url(url) + ": " + why);
  };
  const size_t sign = url.find("://");
  const std::string scheme = lower(url.substr(0, sign));
  if (sign == url.npos || (scheme != "http" && scheme != "https")) refuse("it is not one of http or https");
  if (url.size() > kLongest) refuse("it is longer than 2048 letters");
  const bool plain = std::all_of(url.begin(), url.end(), [](unsigned char c) { return c > ' ' && c < 127; });
  if (!plain || url.find_first_of("\\\"'<>^`{|}") != url.npos) refuse("it has letters that no URL has");
  if (url.find_first_of("?#") != url.npos) refuse("a query or a fragment is not wanted");
  const size_t begin = sign + 3, slash = std::min(url.find('/', begin), url.size());
  const std::string host = url.substr(begin, slash - begin);
  std::string path = url.substr(slash);
  if (host.empty() || host[0] == ':') refuse("it names no host");
  if (host.find('@') != host.npos)
    refuse("it holds a name or a password; a key stands in the environment, WAN_EXPANDER_KEY");
  while (path.ends_with('/')) path.pop_back();
  const std::string server = scheme + "://" + host;
  if (path.ends_with(kChat)) return server + path;
  return server + path + (names_version(path) ? "" : "/v1") + kChat;
}

}  // namespace wan
