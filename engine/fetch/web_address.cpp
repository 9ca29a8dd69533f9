#include "engine/fetch/web_address.h"

#include <curl/curl.h>

#include <memory>
#include <new>

namespace wan {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

/// Empty where there is none.
std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

}  // namespace

std::optional<WebAddress> parse_address(const std::string& text, const std::string& base) {
  const std::unique_ptr<CURLU, FreeUrl> url(curl_url());
  if (!url) throw std::bad_alloc();
  if (!base.empty() && curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) return std::nullopt;
  constexpr unsigned kLenient = CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_NON_SUPPORT_SCHEME;
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), kLenient) != CURLUE_OK) return std::nullopt;
  WebAddress address;
  address.scheme = part(url.get(), CURLUPART_SCHEME);
  address.host = part(url.get(), CURLUPART_HOST);
  address.port = part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  address.user = part(url.get(), CURLUPART_USER, CURLU_URLDECODE);
  address.password = part(url.get(), CURLUPART_PASSWORD, CURLU_URLDECODE);
  for (CURLUPart secret : {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_FRAGMENT})
    curl_url_set(url.get(), secret, nullptr, 0);
  address.url = part(url.get(), CURLUPART_URL);
  if (address.url.empty()) return std::nullopt;
  return address;
}

}  // namespace wan
