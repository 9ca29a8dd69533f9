// Many clients of one server at once: one thread, one epoll. What it takes itself is told with the result.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/serve_bench/connection.h"

namespace wan::bench {

struct LoadOptions {
  uint16_t port = 0;
  std::string request;  // what every client sends
  int clients = 1;      // connections that are kept alive
  double seconds = 1;   // that are counted
  double warm_up = 0;   // seconds before them
  /// Requests a second, evenly; each one's time begins when it was due, also where no connection was free then.
  /// 0: each client sends the next one as soon as it has its answer.
  double rate = 0;
  uint64_t requests = 0;  // ends with so many, whatever the time; 0: does not
  /// What is wrong with an answer; empty: nothing.
  std::function<std::string(const HttpAnswer&)> check;

  int idle = 0;                // connections that ask once, and are open until the end
  int streams = 0;             // connections to an endless answer
  std::string stream_request;  // what these send
};

struct LoadResult {
  double seconds = 0;                // that were counted
  uint64_t answered = 0;             // right answers within them
  std::vector<double> milliseconds;  // of each right answer to a request that was begun within them, ascending
  uint64_t failed = 0;               // wrong answers, none at all, and broken connections, from the first request on
  std::string first_failure;
  int idle_open = 0, streams_open = 0;  // at the end
  uint64_t stream_messages = 0;         // events and comments, since they were opened
  double cpu = 0;                       // part of a core that this thread took

  double per_second() const { return seconds > 0 ? double(answered) / seconds : 0; }
};

/// Waits for the answers to all requests, also those that come after the time that is counted, half a minute at most.
/// Throws std::runtime_error where the server cannot be reached, and where this process may not open so many files.
LoadResult run_load(const LoadOptions& options);

}  // namespace wan::bench
