#include "tools/serve_bench/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fcntl.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

namespace wan::bench {
namespace {

constexpr size_t kMostHead = 64 << 10;

[[noreturn]] void broken(const std::string& what) {
  throw std::runtime_error("[connection] " + what);
}

[[noreturn]] void broken_by_system(const char* what) {
  broken(std::string(what) + ": " + std::strerror(errno));
}

/// A number behind `begin`; nothing where there is none.
std::optional<size_t> number_at(std::string_view text, size_t begin) {
  size_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + std::min(begin, text.size()), text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<size_t> content_length(std::string_view head) {
  constexpr std::string_view kName = "\r\nContent-Length:";
  for (size_t at = head.find("\r\n"); at != head.npos; at = head.find("\r\n", at + 2)) {
    if (head.size() < at + kName.size() || strncasecmp(head.data() + at, kName.data(), kName.size()) != 0) continue;
    const size_t begin = head.find_first_not_of(' ', at + kName.size());
    return number_at(head, begin);
  }
  return std::nullopt;
}

}  // namespace

bool AnswerReader::take_head(std::string_view bytes) {
  answer_.body += bytes;
  if (has_head_) return true;
  const size_t end = answer_.body.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (answer_.body.size() > kMostHead) broken("an answer has a head without an end");
    return false;
  }
  answer_.head = answer_.body.substr(0, end + 2);
  answer_.body.erase(0, end + 4);
  const std::optional<size_t> status = number_at(answer_.head, sizeof "HTTP/1.1");
  if (!answer_.head.starts_with("HTTP/1.") || !status) broken("what came is no HTTP answer");
  answer_.status = int(*status);
  return has_head_ = true;
}

bool AnswerReader::take(std::string_view bytes) {
  const bool had_head = has_head_;
  if (!take_head(bytes)) return false;
  if (!had_head) {
    const std::optional<size_t> length = content_length(answer_.head);
    if (!length && answer_.status != 204) broken("an answer does not tell its length");
    length_ = length.value_or(0);
  }
  if (answer_.body.size() > length_) broken("more came than an answer");
  return answer_.body.size() == length_;
}

void AnswerReader::clear() {
  answer_.status = 0;
  answer_.head.clear();
  answer_.body.clear();
  has_head_ = false;
}

std::string request_text(uint16_t port, const std::string& method, const std::string& target,
                         const std::string& headers, const std::string& body) {
  std::string text = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) + "\r\n" + headers;
  if (!body.empty())
    text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

Connection::Connection(uint16_t port) : file_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (file_ < 0) broken_by_system("no socket");
  const int on = 1;
  setsockopt(file_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(file_);
    broken(std::string("port ") + std::to_string(port) + " does not answer: " + std::strerror(error));
  }
}

Connection::~Connection() {
  if (file_ >= 0) close(file_);
}

Connection::Connection(Connection&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

void Connection::stop_waiting() {
  if (fcntl(file_, F_SETFL, fcntl(file_, F_GETFL) | O_NONBLOCK) != 0) broken_by_system("fcntl");
}

void Connection::wait_at_most(int seconds) {
  const timeval time = {.tv_sec = seconds, .tv_usec = 0};
  setsockopt(file_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

void Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(file_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // A request is far smaller than what a socket takes: a server that has read nothing since the last one is stuck.
    if (sent < 0) broken_by_system("cannot be written to");
    bytes.remove_prefix(size_t(sent));
  }
}

std::string_view Connection::receive() {
  static thread_local std::array<char, 64 << 10> buffer;
  for (;;) {
    const ssize_t got = recv(file_, buffer.data(), buffer.size(), 0);
    if (got > 0) return {buffer.data(), size_t(got)};
    if (got == 0) broken("the server closed it");
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    if (errno != EINTR) broken_by_system("cannot be read");
  }
}

HttpAnswer Connection::ask(const std::string& request, int seconds) {
  wait_at_most(seconds);
  send(request);
  for (AnswerReader reader;;) {
    const std::string_view bytes = receive();
    if (bytes.empty()) broken("no answer within " + std::to_string(seconds) + " s");
    if (reader.take(bytes)) return reader.answer();
  }
}

HttpAnswer Connection::ask_for_stream(const std::string& request, int seconds) {
  wait_at_most(seconds);
  send(request);
  for (AnswerReader reader;;) {
    const std::string_view bytes = receive();
    if (bytes.empty()) broken("no stream within " + std::to_string(seconds) + " s");
    if (reader.take_head(bytes)) return reader.answer();
  }
}

HttpAnswer ask_once(uint16_t port, const std::string& method, const std::string& target, const std::string& body) {
  return Connection(port).ask(request_text(port, method, target, "", body));
}

}  // namespace wan::bench
