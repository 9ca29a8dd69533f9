// Runs coroutines of the server in tests.
#pragma once

#include "engine/serve/net/asio.h"
//
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace wan::serve {

/// What a coroutine returns or throws, run on `io` until it ends. Other handlers run meanwhile.
template <typename T>
T on_io(boost::asio::io_context& io, Awaitable<T> work) {
  std::exception_ptr error;
  std::optional<T> result;
  boost::asio::co_spawn(io, std::move(work), [&](std::exception_ptr thrown, T value) {
    error = thrown;
    result = std::move(value);
  });
  io.restart();
  while (!error && !result) io.run_one();
  if (error) std::rethrow_exception(error);
  return std::move(*result);
}

inline void on_io(boost::asio::io_context& io, Awaitable<void> work) {
  std::exception_ptr error;
  bool is_over = false;
  boost::asio::co_spawn(io, std::move(work), [&](std::exception_ptr thrown) {
    error = thrown;
    is_over = true;
  });
  io.restart();
  while (!is_over) io.run_one();
  if (error) std::rethrow_exception(error);
}

/// Runs handlers until `is_so` or, so that a test ends that fails, for a minute. Whether it is so.
inline bool run_until(boost::asio::io_context& io, const std::function<bool()>& is_so) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  io.restart();
  while (!is_so() && std::chrono::steady_clock::now() < end) {
    if (io.stopped()) io.restart();
    io.run_one_for(std::chrono::milliseconds(10));
  }
  return is_so();
}

/// Runs handlers for a while: for what must not happen.
inline void run_for(boost::asio::io_context& io, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
    io.restart();
    io.run_for(std::chrono::milliseconds(5));
  }
}

}  // namespace wan::serve
