// libcurl's and HTTP's numbers in words for a user. Included by .cpp files only.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <string>

namespace wan {

/// "404 (not found)".
std::string status_text(long status);
/// "5 min", "20 s".
std::string duration_text(std::chrono::milliseconds time);
/// Why the certificate of `host` does not do, and the way out; `reason` is X.509's number of OpenSSL, 0 for another host's.
std::string certificate_text(const std::string& host, long reason);
/// Why a transfer failed, for codes that need no more than this: what is left has its number.
std::string curl_text(CURLcode code);

}  // namespace wan
