// Boost.Asio as this server uses it: coroutines on one io_context.
#pragma once

#include <utility>  // Boost 1.74's awaitable.hpp uses std::exchange and does not include it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

// GCC 12 to 14 take the frames of Boost's coroutines, which have a new and a delete of their own, for mismatched.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace wan::serve {

template <typename T = void>
using Awaitable = boost::asio::awaitable<T>;

}  // namespace wan::serve
