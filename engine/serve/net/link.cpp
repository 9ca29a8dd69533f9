#include "engine/serve/net/link.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace wan::serve {
namespace {

namespace asio = boost::asio;

/// The same code for both kinds of stream; what only TLS has lies in the functions below.
template <typename Stream>
class LinkOf final : public Link {
 public:
  template <typename... Arguments>
  explicit LinkOf(Arguments&&... arguments) : stream_(std::forward<Arguments>(arguments)...) {}

  Socket& socket() override;
  bool is_tls() const override;
  Awaitable<void> handshake(ErrorCode& error) override;
  Awaitable<void> say_end(ErrorCode& error) override;
  // These are no coroutines of their own: that would be one more frame for each read and write.
  Awaitable<size_t> read_some(asio::mutable_buffer into, ErrorCode& error) override {
    return stream_.async_read_some(into, asio::redirect_error(asio::use_awaitable, error));
  }
  Awaitable<size_t> write_some(const std::array<asio::const_buffer, 2>& from, ErrorCode& error) override {
    return stream_.async_write_some(from, asio::redirect_error(asio::use_awaitable, error));
  }

 private:
  Stream stream_;
};

using Tls = asio::ssl::stream<Socket>;

template <>
Socket& LinkOf<Socket>::socket() {
  return stream_;
}
template <>
bool LinkOf<Socket>::is_tls() const {
  return false;
}
template <>
Awaitable<void> LinkOf<Socket>::handshake(ErrorCode&) {
  co_return;
}
template <>
Awaitable<void> LinkOf<Socket>::say_end(ErrorCode&) {
  co_return;
}

template <>
Socket& LinkOf<Tls>::socket() {
  return stream_.next_layer();
}
template <>
bool LinkOf<Tls>::is_tls() const {
  return true;
}
template <>
Awaitable<void> LinkOf<Tls>::handshake(ErrorCode& error) {
  return stream_.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
}
template <>
Awaitable<void> LinkOf<Tls>::say_end(ErrorCode& error) {
  return stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
}

}  // namespace

asio::ip::address plain_address(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

std::unique_ptr<Link> make_link(Socket socket, asio::ssl::context* tls) {
  if (tls == nullptr) return std::make_unique<LinkOf<Socket>>(std::move(socket));
  return std::make_unique<LinkOf<Tls>>(std::move(socket), *tls);
}

}  // namespace wan::serve
