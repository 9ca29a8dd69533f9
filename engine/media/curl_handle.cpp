#include "engine/media/curl_handle.h"

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include "engine/request/version.h"

namespace wan {
namespace {

void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw std::runtime_error("[URL] cannot be loaded: libcurl does not start");
}

void set_protocols(CURL* easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS, long(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // an interrupt does not wait for a slow name server
#endif
}

/// As the program curl has it; libcurl itself does not look at the environment for these.
void set_authorities(CURL* easy) {
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE"})
    if (const char* file = std::getenv(name); file && *file) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, file);
      break;
    }
  if (const char* folder = std::getenv("SSL_CERT_DIR"); folder && *folder)
    curl_easy_setopt(easy, CURLOPT_CAPATH, folder);
}

}  // namespace

CurlHandle::CurlHandle() {
  start_curl();
  multi.reset(curl_multi_init());
  easy.reset(curl_easy_init());
  if (!multi || !easy) throw std::bad_alloc();
}

void CurlHandle::prepare(const WebAddress& address, bool with_user, const DownloadLimits& limits) {
  CURL* handle = easy.get();
  curl_easy_reset(handle);
  set_protocols(handle);
  set_authorities(handle);
  curl_easy_setopt(handle, CURLOPT_URL, address.url.c_str());
  if (with_user && !address.user.empty()) curl_easy_setopt(handle, CURLOPT_USERNAME, address.user.c_str());
  if (with_user && !address.password.empty()) curl_easy_setopt(handle, CURLOPT_PASSWORD, address.password.c_str());
  curl_easy_setopt(handle, CURLOPT_USERAGENT, (std::string("wan-infer/") + version()).c_str());
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, long(CURL_HTTP_VERSION_2TLS));
  // Nothing packed is asked for; what is packed all the same is unpacked, and counted then.
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "identity");
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, long(limits.connect.count()));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
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
