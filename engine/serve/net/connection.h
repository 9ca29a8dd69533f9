// One client's connection, from its first byte to its end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/serve/net/answer.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/net/server.h"
#include "engine/serve/net/wire.h"

namespace wan::serve {

class RequestParser;

/// What the connections of a server share.
struct ServerParts {
  ServerParts(boost::asio::io_context& io, NetOptions options, Handler handler,
              std::function<void(const std::string&)> report)
      : options(std::move(options)),
        handler(std::move(handler)),
        report(std::move(report)),
        wires(std::make_shared<Wires>(io)) {}

  const NetOptions options;
  const Handler handler;
  const std::function<void(const std::string&)> report;
  const std::shared_ptr<Wires> wires;
  std::shared_ptr<boost::asio::ssl::context> tls;  // null: plain HTTP
  Pool pool{4};
  DateText date;
  bool stops = false;
};

/// Answers requests in the order in which they come, until one of both ends it. A handler whose client is gone runs to
/// its end, and the connection waits for it.
class Connection {
 public:
  Connection(std::shared_ptr<ServerParts> service, std::unique_ptr<Link> link);
  /// `self` keeps it.
  static Awaitable<void> run(std::shared_ptr<Connection> self);

 private:
  Awaitable<void> run();
  Awaitable<bool> wait_for_request();
  /// Reads a head, has it answered, and reads what is left of its body. False where nothing can follow.
  Awaitable<bool> serve();
  /// False where the client left without a word that could be answered. Throws HttpError 400, 408, 431.
  Awaitable<bool> read_head(RequestParser& parser);
  Awaitable<bool> serve(RequestParser& parser);
  /// An answer to a head that is wrong; the connection ends with it.
  Awaitable<void> refuse(const Answer& answer, const RequestParser& parser);

  std::shared_ptr<ServerParts> service_;
  std::shared_ptr<Wire> wire_;
};

}  // namespace wan::serve
