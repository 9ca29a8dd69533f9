// The body of one request, read from its connection piece by piece.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/serve/net/asio.h"

namespace wan::serve {

class RequestParser;
class Wire;

class RequestBody {
 public:
  static constexpr size_t kPiece = 256 << 10;

  /// For a head that was read whole. `silence`: how long a client may send nothing.
  RequestBody(Wire& wire, RequestParser& parser, std::chrono::seconds silence);

  /// What the head says; nothing for chunked bodies.
  std::optional<uint64_t> length() const { return length_; }
  /// Throws HttpError 413 where the head says that more than `most` bytes come.
  void admit(uint64_t most) const;
  /// As admit, for `received` bytes that came.
  static void check_length(uint64_t received, uint64_t most);
  /// Sends "100 Continue" where the client waits for it.
  Awaitable<void> begin();
  /// The next bytes, at least `enough` where the body does not end before; empty at its end. They hold until the next call.
  /// Throws HttpError 400 where the body is wrong or ends early, 408 where nothing comes.
  Awaitable<std::string_view> piece(size_t enough);

  bool ended() const;
  /// Whether the rest, which no handler wants, can be read so that the next request may follow. It cannot where it is
  /// large, wrong, or where the client may not be going to send it.
  bool worth_draining() const;
  /// Reads the rest. False where it turned out not to end soon.
  Awaitable<bool> drain();

 private:
  Awaitable<std::string_view> read(size_t enough, std::chrono::steady_clock::time_point until);

  Wire& wire_;
  RequestParser& parser_;
  std::chrono::seconds silence_;
  std::optional<uint64_t> length_;
  uint64_t taken_ = 0;  // bytes of the body that were given to the handler
  bool awaits_continue_ = false, wrong_ = false;
};

}  // namespace wan::serve
