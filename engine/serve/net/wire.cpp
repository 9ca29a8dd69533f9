#include "engine/serve/net/wire.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

namespace wan::serve {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto kSweep = 250ms;
// Of a connection that ends while the client may still be sending. Clients that write their whole body before they read
// get an answer as long as the body is below kLingerBytes.
constexpr auto kLingerTime = 10s, kLingerSilence = 2s;
constexpr uint64_t kLingerBytes = uint64_t(64) << 20;

}  // namespace

void Wires::add(Wire* wire) {
  wires_.insert(wire);
  if (!std::exchange(sweeping_, true)) sweep();
}

void Wires::sweep() {
  const Clock::time_point now = Clock::now();
  for (Wire* wire : wires_) wire->check_time(now);
  if (wires_.empty()) {
    sweeping_ = false;
    return;
  }
  timer_.expires_after(kSweep);
  timer_.async_wait([weak = weak_from_this()](const ErrorCode& error) {
    const std::shared_ptr<Wires> self = weak.lock();
    if (self && !error) self->sweep();
  });
}

void Wires::close_idle() {
  for (Wire* wire : wires_) {
    if (wire->idle) wire->close();
  }
}

void Wires::close_all() {
  for (Wire* wire : wires_) wire->close();
}

Wire::Wire(std::unique_ptr<Link> link, std::shared_ptr<Wires> wires, Clock::duration write_time)
    : link_(std::move(link)), wires_(std::move(wires)), write_time_(write_time) {
  ErrorCode gone;
  peer_ = plain_address(link_->socket().remote_endpoint(gone).address());
  wires_->add(this);
}

Wire::~Wire() {
  wires_->wires_.erase(this);
}

Awaitable<bool> Wire::handshake(Clock::time_point until) {
  if (!link_->is_tls()) co_return true;
  ErrorCode error;
  wait_until(until);
  co_await link_->handshake(error);
  until_ = Clock::time_point::max();
  co_return !error;
}

Awaitable<Wire::Got> Wire::read_more(Clock::time_point until) {
  if (broken_) co_return Got::End;
  ErrorCode error;
  wait_until(until);
  const size_t size = co_await link_->read_some(asio::buffer(input.room(), input.room_size()), error);
  until_ = Clock::time_point::max();
  input.add(size);
  received_ += size;
  if (size > 0) co_return Got::Bytes;
  if (late_) co_return Got::Late;
  co_return Got::End;
}

Awaitable<bool> Wire::write(std::string_view first, std::string_view second) {
  if (std::exchange(writing_, true)) throw std::logic_error("two writes at a time on one connection");
  while (!broken_ && first.size() + second.size() > 0) {
    ErrorCode error;
    wait_until(Clock::now() + write_time_);
    const std::array<asio::const_buffer, 2> buffers = {asio::buffer(first.data(), first.size()),
                                                       asio::buffer(second.data(), second.size())};
    const size_t size = co_await link_->write_some(buffers, error);
    const size_t of_first = std::min(size, first.size());
    first.remove_prefix(of_first);
    second.remove_prefix(size - of_first);
    if (error || (size == 0 && late_)) broken_ = true;
  }
  until_ = Clock::time_point::max();
  writing_ = false;
  co_return !broken_;
}

Awaitable<void> Wire::end_softly() {
  if (broken_) co_return;
  idle = true;  // a server that stops need not wait for it
  ErrorCode error;
  wait_until(Clock::now() + kLingerSilence);
  if (link_->is_tls()) co_await link_->say_end(error);
  Socket& socket = link_->socket();
  socket.shutdown(Socket::shutdown_send, error);
  const Clock::time_point end = Clock::now() + kLingerTime;
  std::vector<char> dropped(64 << 10);
  for (uint64_t size = 0; size < kLingerBytes && !error;) {
    const Clock::time_point now = Clock::now();
    if (now >= end) break;
    wait_until(std::min(end, now + kLingerSilence));
    // Past TLS: nobody reads it.
    const size_t more =
        co_await socket.async_read_some(asio::buffer(dropped), asio::redirect_error(asio::use_awaitable, error));
    size += more;
  }
  until_ = Clock::time_point::max();
}

void Wire::close() {
  ErrorCode ignored;
  broken_ = true;
  link_->socket().close(ignored);
}

bool Wire::peer_closed() const {
  pollfd look{.fd = link_->socket().native_handle(), .events = POLLRDHUP, .revents = 0};
  return broken_ || look.fd < 0 || (poll(&look, 1, 0) > 0 && look.revents != 0);
}

void Wire::wait_until(Clock::time_point until) {
  until_ = until;
  late_ = false;
  unsent_ = -1;
}

/// A client that takes what the system has buffered for it is not late, though the system may accept nothing for minutes.
void Wire::check_time(Clock::time_point now) {
  if (until_ == Clock::time_point::max() || late_) return;
  if (writing_) {
    const int unsent = unsent_bytes();
    if (unsent_ >= 0 && unsent < unsent_) until_ = now + write_time_;
    unsent_ = unsent;
  }
  if (now < until_) return;
  late_ = true;
  ErrorCode ignored;
  link_->socket().cancel(ignored);
}

int Wire::unsent_bytes() const {
  int size = 0;
  return ioctl(link_->socket().native_handle(), SIOCOUTQ, &size) == 0 ? size : 0;
}

}  // namespace wan::serve
