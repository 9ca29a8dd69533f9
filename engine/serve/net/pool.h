// Threads for what may block: reading and writing files.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "engine/serve/net/asio.h"

#include <boost/asio/thread_pool.hpp>

namespace wan::serve {

/// Coroutines of one io_context hand their blocking work to it. It ends before that io_context does.
class Pool {
 public:
  explicit Pool(size_t threads) : threads_(threads) {}
  ~Pool() { end(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Calls `work` on a thread of the pool and resumes on the caller's thread with what it returned or threw.
  template <typename Work>
  Awaitable<std::invoke_result_t<Work&>> run(Work work) {
    using Result = std::invoke_result_t<Work&>;
    if constexpr (std::is_void_v<Result>) {
      const std::function<void()> task = [&work] { work(); };
      co_await execute(task);
    } else {
      std::optional<Result> result;
      const std::function<void()> task = [&work, &result] { result.emplace(work()); };
      co_await execute(task);
      co_return std::move(*result);
    }
  }
  /// Returns when what was given to it is done. From then on run() does its work on the caller's thread.
  void end();

 private:
  /// `work` stays with the caller, which waits.
  Awaitable<void> execute(const std::function<void()>& work);

  boost::asio::thread_pool threads_;
  bool ended_ = false;
};

}  // namespace wan::serve
