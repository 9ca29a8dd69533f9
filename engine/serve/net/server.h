// Listens and serves connections: HTTP/1.1 with keep-alive, TLS where it is configured, limits against slow clients.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

struct NetOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8000;                              // 0: any that is free
  std::string public_url = {};                       // without a slash at its end; empty: from each request's Host
  std::filesystem::path certificate = {}, key = {};  // PEM; empty: no TLS. A file that holds both may be named twice
  uint64_t most_connections = 4096;                  // more are closed at once
  uint64_t most_header_bytes = 64 << 10;             // 431
  std::chrono::seconds header_time{20};  // from the first byte of a request to the end of its head: 408 and closed
  std::chrono::seconds idle_time{
      75};  // between two requests; above the 5 s of clients' pools, whose lost race repeats a POST
  std::chrono::seconds body_time{30};  // without a byte of a body, or without the client taking one of an answer
};

/// Answers by `handler` on the io_context's thread. What it throws other than HttpError is answered 500 in the vendor's
/// form, without the text, which goes to `report`.
class Server {
 public:
  /// Binds. Throws InvalidRequest naming "listen", "tls_cert" or "tls_key" where that fails.
  Server(boost::asio::io_context& io, NetOptions options, Handler handler,
         std::function<void(const std::string&)> report);
  ~Server();
  uint16_t port() const;
  /// Takes no more connections; those without a request in progress are closed, others when they have answered.
  void stop();
  uint64_t connections() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// A certificate and key in one PEM file for "localhost", 127.0.0.1, ::1 and `host`, made where `file` is absent; readable
/// by its user alone. Throws std::runtime_error where it cannot be made.
void make_certificate(const std::filesystem::path& file, const std::string& host);

}  // namespace wan::serve
