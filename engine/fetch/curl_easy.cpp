#include "engine/fetch/curl_easy.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "engine/request/version.h"

namespace wan {
namespace {

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

/// libcurl itself does not look at the environment for these.
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

void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw std::runtime_error("[URL] cannot be loaded: libcurl does not start");
}

void set_basics(CURL* easy) {
  set_protocols(easy);
  set_authorities(easy);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, (std::string("wan-infer/") + version()).c_str());
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, long(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

}  // namespace wan
