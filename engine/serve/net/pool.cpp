#include "engine/serve/net/pool.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

namespace wan::serve {

namespace asio = boost::asio;

Awaitable<void> Pool::execute(const std::function<void()>& work) {
  if (ended_) {
    work();
    co_return;
  }
  auto start = [this, &work](auto handler) {
    const auto executor = asio::get_associated_executor(handler);
    asio::post(threads_, [&work, handler = std::move(handler), guard = asio::make_work_guard(executor)]() mutable {
      std::exception_ptr failure;
      try {
        work();
      } catch (...) {
        failure = std::current_exception();
      }
      // The handler leaves this thread before the coroutine goes on.
      asio::post(guard.get_executor(),
                 [handler = std::move(handler), failure = std::move(failure)]() mutable { handler(failure); });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(std::move(start),
                                                                                         asio::use_awaitable);
}

void Pool::end() {
  if (std::exchange(ended_, true)) return;
  threads_.join();
}

}  // namespace wan::serve
