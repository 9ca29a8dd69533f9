// libcurl's handles with an owner, and what every request of a download says. Included by this folder's .cpp files only.
#pragma once

#include <memory>

#include "engine/fetch/curl_easy.h"
#include "engine/fetch/download.h"
#include "engine/fetch/web_address.h"

namespace wan {

struct CurlHandle {
  /// Starts libcurl where nobody has yet. Throws std::bad_alloc, or std::runtime_error where it does not start.
  CurlHandle();
  ~CurlHandle() { curl_multi_remove_handle(multi.get(), easy.get()); }
  CurlHandle(const CurlHandle&) = delete;
  CurlHandle& operator=(const CurlHandle&) = delete;

  /// Forgets the last request, and sets all of the next but who takes its answer and opens its connection.
  void prepare(const WebAddress& address, bool with_user, const DownloadLimits& limits);

  template <typename T>
  T info(CURLINFO which) const {
    T value{};
    curl_easy_getinfo(easy.get(), which, &value);
    return value;
  }

  std::unique_ptr<CURLM, FreeMulti> multi;
  std::unique_ptr<CURL, FreeEasy> easy;
};

/// Whether the environment names a proxy, for any host.
bool proxy_is_set();

}  // namespace wan
