#include "engine/fetch/curl_handle.h"

#include <cstdlib>
#include <new>

namespace wan {
CurlHandle::CurlHandle() {
  start_curl();
  multi.reset(curl_multi_init());
  easy.reset(curl_easy_init());
  if (!multi || !easy) throw std::bad_alloc();
}

void CurlHandle::prepare(const WebAddress& address, bool with_user, const DownloadLimits& limits) {
  CURL* handle = easy.get();
  curl_easy_reset(handle);
  set_basics(handle);
  curl_easy_setopt(handle, CURLOPT_URL, address.url.c_str());
  if (with_user && !address.user.empty()) curl_easy_setopt(handle, CURLOPT_USERNAME, address.user.c_str());
  if (with_user && !address.password.empty()) curl_easy_setopt(handle, CURLOPT_PASSWORD, address.password.c_str());
  // Nothing packed is asked for; what is packed all the same is unpacked, and counted then.
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "identity");
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, long(limits.connect.count()));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
  if (limits.may_connect) curl_easy_setopt(handle, CURLOPT_PROXY, "");
}

bool proxy_is_set() {
  const auto is_set = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value;
  };
  return is_set("http_proxy") || is_set("https_proxy") || is_set("HTTPS_PROXY") || is_set("all_proxy") ||
         is_set("ALL_PROXY");
}

}  // namespace wan
