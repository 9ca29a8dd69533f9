// Server-sent events on a connection.
#pragma once

#include <string>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

class Wire;

class EventWriter final : public EventStream {
 public:
  /// `chunked`: HTTP/1.1; else the stream ends with its connection. `stops`: the server is about to end, and with it streams.
  EventWriter(Wire& wire, bool chunked, const bool& stops) : wire_(wire), chunked_(chunked), stops_(stops) {}

  /// One call at a time. Throws std::invalid_argument where `name` has a line break; lines of `data` become lines of the
  /// event.
  Awaitable<bool> send(std::string data, std::string name = {}) override;
  Awaitable<bool> comment() override;
  /// Nothing follows. False where the client did not get everything.
  Awaitable<bool> end();

 private:
  Awaitable<bool> put(std::string text);

  Wire& wire_;
  bool chunked_;
  const bool& stops_;
};

}  // namespace wan::serve
