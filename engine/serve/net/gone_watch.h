// Waiting for the client to leave, beside something else.
#pragma once

#include <memory>

#include "engine/serve/net/asio.h"

#include <boost/asio/steady_timer.hpp>

namespace wan::serve {

class Wire;

/// Of one request. Waits hold what they need themselves, so a coroutine that is still in one when the request ends does no
/// harm: it is woken, and gets an exception in place of "the client is gone".
class GoneWatch {
 public:
  explicit GoneWatch(std::shared_ptr<Wire> wire);
  ~GoneWatch() { end(); }
  GoneWatch(const GoneWatch&) = delete;
  GoneWatch& operator=(const GoneWatch&) = delete;

  /// Returns when the client has closed its side of the connection, whatever it sent before. Reads nothing. Throws
  /// boost::system::system_error (operation_aborted) after end().
  Awaitable<void> wait();
  /// No wait returns from here on. Called when nothing else reads or writes.
  void end();

 private:
  struct State;
  static Awaitable<void> wait(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
