#include "engine/serve/net/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "engine/base/error.h"
#include "engine/serve/net/connection.h"
#include "engine/serve/net/tls.h"

namespace wan::serve {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

tcp::endpoint resolve(asio::io_context& io, const NetOptions& options) {
  ErrorCode error;
  const asio::ip::address address = asio::ip::make_address(options.address, error);
  if (!error) return {address, options.port};
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(options.address, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    throw InvalidRequest("listen",
                         "must be an address of this machine, got " + options.address + ": " + error.message());
  }
  return *found.begin();
}

tcp::acceptor bind(asio::io_context& io, const NetOptions& options) {
  const tcp::endpoint endpoint = resolve(io, options);
  tcp::acceptor acceptor(io);
  ErrorCode error;
  const auto check = [&] {
    if (!error) return;
    throw InvalidRequest("listen", "cannot be " + options.address + ":" + std::to_string(options.port) + ": " +
                                       error.message() + "; choose another address or port");
  };
  acceptor.open(endpoint.protocol(), error);
  check();
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  check();
  acceptor.bind(endpoint, error);
  check();
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  check();
  return acceptor;
}

/// Answers are not held back to fill packets, and clients that vanished without a word are found after two minutes.
void prepare(Socket& socket) {
  const auto set = [&](int level, int name, int value) {
    setsockopt(socket.native_handle(), level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace

struct Server::State {
  State(asio::io_context& context, NetOptions options, Handler handler, std::function<void(const std::string&)> report)
      : io(context),
        service(std::make_shared<ServerParts>(context, std::move(options), std::move(handler), std::move(report))),
        acceptor(bind(context, service->options)),
        pause(context) {
    const NetOptions& net = service->options;
    if (net.certificate.empty() != net.key.empty()) {
      throw InvalidRequest(net.key.empty() ? "tls_key" : "tls_cert", "must be given with the other one");
    }
    if (!net.certificate.empty()) service->tls = make_tls(net.certificate, net.key);
    port = acceptor.local_endpoint().port();
  }

  static Awaitable<void> accept(std::shared_ptr<State> self) {
    while (self->acceptor.is_open()) {
      ErrorCode error;
      Socket socket = co_await self->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (!self->acceptor.is_open()) break;
      if (error) {
        co_await self->wait_for_descriptors(error);
      } else if (self->service->wires->count() < self->service->options.most_connections) {
        self->begin(std::move(socket));
      }
    }
  }

  void begin(Socket socket) {
    prepare(socket);
    auto connection = std::make_shared<Connection>(service, make_link(std::move(socket), service->tls.get()));
    asio::co_spawn(io, Connection::run(std::move(connection)), asio::detached);
  }

  /// Where the process has too many files open, it stays so for a while.
  Awaitable<void> wait_for_descriptors(ErrorCode error) {
    if (error == asio::error::connection_aborted) co_return;
    const auto now = Clock::now();
    if (now - reported > std::chrono::minutes(1)) {
      reported = now;
      service->report("connections cannot be accepted: " + error.message());
    }
    pause.expires_after(std::chrono::milliseconds(100));
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }

  void stop() {
    service->stops = true;
    ErrorCode ignored;
    acceptor.close(ignored);
    pause.cancel();
    service->wires->close_idle();
  }

  asio::io_context& io;
  std::shared_ptr<ServerParts> service;
  tcp::acceptor acceptor;
  asio::steady_timer pause;
  uint16_t port = 0;
  Clock::time_point reported = Clock::time_point() - std::chrono::hours(1);
};

Server::Server(asio::io_context& io, NetOptions options, Handler handler,
               std::function<void(const std::string&)> report)
    : state_(std::make_shared<State>(io, std::move(options), std::move(handler), std::move(report))) {
  asio::co_spawn(io, State::accept(state_), asio::detached);
}

Server::~Server() {
  state_->stop();
  state_->service->wires->close_all();
  state_->service->pool.end();
}

uint16_t Server::port() const {
  return state_->port;
}

void Server::stop() {
  state_->stop();
}

uint64_t Server::connections() const {
  return state_->service->wires->count();
}

}  // namespace wan::serve
