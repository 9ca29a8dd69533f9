// Coroutines that wait until something happens, without a thread and without looking again and again.
#pragma once

#include "engine/serve/net/asio.h"
//
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <list>
#include <memory>

namespace wan::serve {

/// Something that happens once, well or badly; one coroutine waits for it. Held by shared_ptr by both sides. Everything on
/// the io_context's thread.
class Outcome {
 public:
  explicit Outcome(boost::asio::io_context& io) : timer_(io, boost::asio::steady_timer::time_point::max()) {}

  void set(std::exception_ptr error) {
    is_set_ = true;
    error_ = std::move(error);
    timer_.cancel();
  }
  bool is_set() const { return is_set_; }

  /// Returns when it has happened, and throws what it was set to.
  Awaitable<void> wait() {
    boost::system::error_code ended;
    if (!is_set_) co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ended));
    if (!is_set_) throw boost::system::system_error(boost::asio::error::operation_aborted);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  boost::asio::steady_timer timer_;
  bool is_set_ = false;
  std::exception_ptr error_;
};

/// Any number of coroutines that wait for the next change of something. Held by shared_ptr by whoever waits.
class Waiters {
 public:
  /// All go on.
  void wake() {
    for (boost::asio::steady_timer* timer : timers_) timer->cancel();
  }
  size_t size() const { return timers_.size(); }

  /// Returns at the next wake(), after `most`, or where the waiting coroutine is cancelled.
  static Awaitable<void> wait(boost::asio::io_context& io, std::shared_ptr<Waiters> waiters,
                              std::chrono::milliseconds most) {
    boost::asio::steady_timer timer(io, most);
    const Place place(*waiters, &timer);
    boost::system::error_code ended;
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ended));
  }

 private:
  struct Place {
    Place(Waiters& waiters, boost::asio::steady_timer* timer)
        : waiters(waiters), at(waiters.timers_.insert(waiters.timers_.end(), timer)) {}
    ~Place() { waiters.timers_.erase(at); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Waiters& waiters;
    std::list<boost::asio::steady_timer*>::iterator at;
  };

  std::list<boost::asio::steady_timer*> timers_;
};

}  // namespace wan::serve
