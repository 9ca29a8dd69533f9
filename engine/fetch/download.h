// Inputs that are named by an http(s) URL, by libcurl: within limits of time, size and disk, and stopped at once.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "engine/base/progress.h"
#include "engine/request/files.h"
#include "models/files/atomic_file.h"

namespace wan {

/// What a server may cost. The defaults are those of sound and video.
struct DownloadLimits {
  int64_t most_bytes = kMostMediaBytes;                     // of the content, unpacked
  std::chrono::milliseconds whole = std::chrono::hours(1);  // from the first connection to the last byte
  std::chrono::milliseconds connect = std::chrono::seconds(20);
  std::chrono::milliseconds answer = std::chrono::seconds(60);     // until the first byte of the content
  std::chrono::milliseconds rate_over = std::chrono::seconds(30);  // each such span gives least_rate on average
  int64_t least_rate = 1000;                                       // bytes a second
  int64_t most_redirects = 10;
  int64_t most_header_bytes = 256 << 10;                  // of one answer, 1xx answers before it included
  uint64_t free_bytes = 64 << 20;                         // left on the disk
  std::function<bool(const sockaddr&)> may_connect = {};  // asked of every address and port; empty: to all
};

/// Writes everything that `url` gives to `file`. Follows redirects to http and https, from https only to https; name and
/// password of the URL go to its own host alone. Certificates are verified, by SSL_CERT_FILE, CURL_CA_BUNDLE and
/// SSL_CERT_DIR where they are set. Proxies are those of the environment, as curl has them; with may_connect none is
/// used, since it would ask hosts that are not seen here.
/// Reports Stage::Fetch in bytes where it takes longer than a second. Throws Cancelled as `progress` does, and
/// InvalidRequest naming the field, the URL without its secrets and what is wrong.
void download(const std::string& url, const char* field, AtomicFile& file, const DownloadLimits& limits,
              Progress& progress, const std::string& label = {});

}  // namespace wan
