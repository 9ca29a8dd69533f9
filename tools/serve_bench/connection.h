// One connection to a server on this machine, and answers as they come over it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wan::bench {

struct HttpAnswer {
  int status = 0;
  std::string head, body;
};

/// Puts an answer together from the bytes of a connection, again and again.
class AnswerReader {
 public:
  /// Whether the answer is whole now. Throws std::runtime_error for what is no answer, for one that does not tell its
  /// length, and for bytes behind its end, since nobody asks twice at once.
  bool take(std::string_view bytes);
  /// Whether its head is whole now; all behind it is body, however long. Of streams.
  bool take_head(std::string_view bytes);
  const HttpAnswer& answer() const { return answer_; }
  void clear();

 private:
  HttpAnswer answer_;
  bool has_head_ = false;
  size_t length_ = 0;
};

/// The text of a request to a server on this machine. `headers` end with \r\n each.
std::string request_text(uint16_t port, const std::string& method, const std::string& target,
                         const std::string& headers = "", const std::string& body = "");

/// To 127.0.0.1, with TCP_NODELAY. All members throw std::runtime_error where the connection breaks.
class Connection {
 public:
  explicit Connection(uint16_t port);
  ~Connection();
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int file() const { return file_; }
  /// From then on reads and writes do not wait.
  void stop_waiting();
  /// All of it.
  void send(std::string_view bytes);
  /// What has come; empty: nothing yet. Throws at the end of the connection.
  std::string_view receive();
  /// Waits for a whole answer, at most `seconds`.
  HttpAnswer ask(const std::string& request, int seconds = 30);
  /// Waits for the head of an answer that does not end.
  HttpAnswer ask_for_stream(const std::string& request, int seconds = 30);

 private:
  void wait_at_most(int seconds);
  int file_ = -1;
};

/// One question over a connection of its own.
HttpAnswer ask_once(uint16_t port, const std::string& method, const std::string& target, const std::string& body = "");

}  // namespace wan::bench
