// One http(s) request by libcurl, watched while it runs. Included by this folder's .cpp files only.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "engine/fetch/download.h"
#include "engine/fetch/web_address.h"

namespace wan {

struct CurlHandle;

/// How messages call a download, and what they are about.
struct DownloadSubject {
  std::string url, field;

  /// Throws InvalidRequest "[field] must be a URL that can be read, got 'url': <why>".
  [[noreturn]] void refuse(const std::string& why) const;
};

/// What a server answered; a whole content is in the file then.
struct Answer {
  long status = 0;
  std::string location;       // of a redirect, as the server wrote it; empty: none
  std::string failure;        // why the transfer did not end well, whatever the status; empty: it did
  int64_t content_bytes = 0;  // written to the file
};

/// The requests of one download: they share its time, and connections where they can.
class Transfer {
 public:
  Transfer(DownloadSubject subject, const DownloadLimits& limits, AtomicFile& file, Progress& progress,
           std::string label);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Asks for `address`, with name and password where `with_user`. Throws where a limit is reached or the user stops.
  Answer get(const WebAddress& address, bool with_user);

 private:
  using Clock = std::chrono::steady_clock;

  void set_up(const WebAddress& address, bool with_user);
  void run();
  std::string failure_of(int code, const WebAddress& address) const;
  void watch();
  void watch_rate(Clock::time_point now, int64_t bytes);
  void report(Clock::time_point now, int64_t bytes);
  [[noreturn]] void refuse_size(int64_t bytes) const;
  void check_space(int64_t more) const;
  void take_header(const char* line, size_t size);
  bool take_content(const char* data, size_t size);
  int64_t received() const;
  int64_t announced() const;

  static size_t on_header(char* data, size_t one, size_t size, void* self) noexcept;
  static size_t on_content(char* data, size_t one, size_t size, void* self) noexcept;

  DownloadSubject subject_;
  const DownloadLimits& limits_;
  AtomicFile& file_;
  Progress& progress_;
  std::string label_;
  std::unique_ptr<CurlHandle> curl_;
  Clock::time_point start_ = Clock::now(), mark_ = start_, reported_ = start_;
  int64_t mark_bytes_ = 0, unchecked_bytes_ = 0, header_bytes_ = 0;
  Answer answer_;
  bool refused_private_ = false;
  std::exception_ptr thrown_;  // in a callback: nothing may be thrown through C
};

}  // namespace wan
