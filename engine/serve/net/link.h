// The socket of a connection, with TLS or without.
#pragma once

#include <array>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <memory>

#include "engine/serve/net/asio.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace boost::asio::ssl {
class context;
}

namespace wan::serve {

using ErrorCode = boost::system::error_code;
using Socket = boost::asio::ip::tcp::socket;

/// At most one read and one write at a time. `error` must live until the operation ends.
class Link {
 public:
  virtual ~Link() = default;
  virtual Socket& socket() = 0;
  virtual bool is_tls() const = 0;
  virtual Awaitable<void> handshake(ErrorCode& error) = 0;
  virtual Awaitable<size_t> read_some(boost::asio::mutable_buffer into, ErrorCode& error) = 0;
  virtual Awaitable<size_t> write_some(const std::array<boost::asio::const_buffer, 2>& from, ErrorCode& error) = 0;
  /// Tells the client that nothing follows: TLS's word for it. The TCP connection stays as it is.
  virtual Awaitable<void> say_end(ErrorCode& error) = 0;
};

/// An IPv4 address as such, where a socket for both kinds has it as ::ffff:127.0.0.1.
boost::asio::ip::address plain_address(const boost::asio::ip::address& address);

/// `tls`: null for none; it outlives the link.
std::unique_ptr<Link> make_link(Socket socket, boost::asio::ssl::context* tls);

}  // namespace wan::serve
