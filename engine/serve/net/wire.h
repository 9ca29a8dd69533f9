// The bytes of one connection: read ahead, written whole, with a time by which something must come or go.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>
#include <unordered_set>

#include "engine/serve/net/input_buffer.h"
#include "engine/serve/net/link.h"

#include <boost/asio/steady_timer.hpp>

namespace wan::serve {

class Wire;
using Clock = std::chrono::steady_clock;

/// All connections of a server. One timer looks after the times of all of them, four times a second: a timer for each would
/// be set anew for each read.
class Wires : public std::enable_shared_from_this<Wires> {
 public:
  explicit Wires(boost::asio::io_context& io) : timer_(io) {}
  size_t count() const { return wires_.size(); }
  /// Those that wait for a request are closed.
  void close_idle();
  void close_all();

 private:
  friend class Wire;
  void add(Wire* wire);
  void sweep();

  std::unordered_set<Wire*> wires_;
  boost::asio::steady_timer timer_;
  bool sweeping_ = false;
};

class Wire {
 public:
  enum class Got { Bytes, End, Late };  // End: the client sent all that it will send, or the connection broke

  Wire(std::unique_ptr<Link> link, std::shared_ptr<Wires> wires, Clock::duration write_time);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  InputBuffer input;
  bool idle = false;  // nothing is lost where it is closed now

  Link& link() { return *link_; }
  /// Of the client, kept from the beginning: of a connection that broke, the system has forgotten it. IPv4 clients of a
  /// socket that serves both are 127.0.0.1, not ::ffff:127.0.0.1.
  const boost::asio::ip::address& peer() const { return peer_; }
  /// TLS's greeting; false where it fails or is not done in time.
  Awaitable<bool> handshake(Clock::time_point until);
  /// Adds to `input`, which has room.
  Awaitable<Got> read_more(Clock::time_point until);
  /// Both, in one call of the system where they fit. False where the connection broke, or where the client took nothing for
  /// the time that was given to the constructor; nothing can be written then any more.
  Awaitable<bool> write(std::string_view first, std::string_view second = {});
  /// Ends the client's side of reading, then reads and drops what it still sends, within limits: where a socket with
  /// unread bytes is closed, the client gets a reset, and may lose an answer that it had not read yet.
  Awaitable<void> end_softly();
  void close();

  /// Whether the client has closed its side, or the connection broke. Asks the system; unread bytes do not hide it.
  bool peer_closed() const;
  bool is_broken() const { return broken_; }
  /// Bytes that were read in all.
  uint64_t received() const { return received_; }

 private:
  friend class Wires;
  void wait_until(Clock::time_point until);
  void check_time(Clock::time_point now);
  int unsent_bytes() const;

  std::unique_ptr<Link> link_;
  std::shared_ptr<Wires> wires_;
  boost::asio::ip::address peer_;
  Clock::duration write_time_;
  Clock::time_point until_ = Clock::time_point::max();
  uint64_t received_ = 0;
  int unsent_ = -1;  // while writing: what the system still held at the last look
  bool late_ = false, broken_ = false, writing_ = false;
};

}  // namespace wan::serve
