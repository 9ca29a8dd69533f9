// What every request by libcurl begins with, of downloads and of messages.
#pragma once

#include <curl/curl.h>

namespace wan {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

/// Starts libcurl where nobody has yet. Throws std::runtime_error where it does not start.
void start_curl();

/// http and https alone, no redirects, no signals, our name as user agent, and authorities by SSL_CERT_FILE,
/// CURL_CA_BUNDLE and SSL_CERT_DIR where they are set, as the program curl has it.
void set_basics(CURL* easy);

}  // namespace wan
