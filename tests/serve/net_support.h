// A server in a thread of this process, and a client that sends exactly what it is told to.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/serve/net/answer.h"
#include "engine/serve/net/server.h"
#include "engine/serve/net/text.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace wan::serve::testing {

/// The answer of a handler that has nothing to wait for.
inline Answer text_answer(std::string body) {
  return {.body = std::move(body), .type = "text/plain"};
}

class TestServer {
 public:
  /// On the server's thread.
  template <typename Work>
  auto call(Work work) {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Work>()>>(std::move(work));
    auto result = task->get_future();
    boost::asio::post(io_, [task] { (*task)(); });
    return result.get();
  }

  explicit TestServer(Handler handler, NetOptions options = {}) {
    options.port = 0;
    server_.emplace(io_, options, std::move(handler), [this](const std::string& text) {
      const std::lock_guard lock(mutex_);
      reports_.push_back(text);
    });
    port = server_->port();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~TestServer() {
    call([this] { server_.reset(); });
    guard_.reset();
    thread_.join();
  }

  void stop() {
    call([this] { server_->stop(); });
  }
  uint64_t connections() {
    return call([this] { return server_->connections(); });
  }
  /// Until the server has this many; a test that waits for a minute fails.
  void wait_for_connections(uint64_t count) {
    for (int i = 0; i < 12000 && connections() != count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(connections(), count);
  }
  std::vector<std::string> reports() {
    const std::lock_guard lock(mutex_);
    return reports_;
  }
  boost::asio::io_context& io() { return io_; }

  uint16_t port = 0;

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{io_.get_executor()};
  std::mutex mutex_;
  std::vector<std::string> reports_;
  std::optional<Server> server_;
  std::thread thread_;
};

struct Received {
  int status = 0;  // 0: the connection ended before an answer
  std::string head, body;
  bool whole = false;  // the body is as long as it was announced

  std::string header(const std::string& name) const {
    std::istringstream lines(head);
    for (std::string line; std::getline(lines, line);) {
      const size_t colon = line.find(':');
      if (colon != line.npos && same_word(line.substr(0, colon), name)) {
        const std::string value = line.substr(std::min(colon + 2, line.size()));
        return value.substr(0, value.find('\r'));
      }
    }
    return {};
  }
  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{.tv_sec = 60, .tv_usec = 0};  // a test that hangs fails
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (receive_buffer > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void half_close() { shutdown(socket_, SHUT_WR); }
  /// The client's machine answers with a reset from now on.
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0) return false;
      text.remove_prefix(static_cast<size_t>(size));
    }
    return true;
  }
  /// One answer; bytes behind it stay for the next call. `head_only`: it was asked for by HEAD.
  Received receive(bool head_only = false) {
    Received answer;
    const size_t end = until("\r\n\r\n");
    if (end == std::string::npos) return answer;
    answer.head = take(end + 4);
    answer.status = std::atoi(answer.head.c_str() + 9);
    answer.whole = true;
    if (head_only || answer.status < 200 || answer.status == 204 || answer.status == 304) return answer;
    if (answer.header("Transfer-Encoding") == "chunked") {
      receive_chunks(answer);
    } else if (const std::string length = answer.header("Content-Length"); !length.empty()) {
      const size_t size = std::stoull(length);
      while (bytes_.size() < size && more()) continue;
      answer.whole = bytes_.size() >= size;
      answer.body = take(std::min(size, bytes_.size()));
    } else {
      while (more()) continue;
      answer.body = take(bytes_.size());
    }
    return answer;
  }
  /// The next line of the connection, or what came before it ended.
  std::string line() {
    const size_t end = until("\n");
    return take(end == std::string::npos ? bytes_.size() : end + 1);
  }
  /// Everything up to the end of the connection. False where that is a reset, or does not come.
  bool ends() {
    while (more()) continue;
    return last_error_ == 0;
  }
  const std::string& left() const { return bytes_; }
  int descriptor() const { return socket_; }
  Received ask(std::string_view text) {
    send(text);
    return receive();
  }

 private:
  bool more() {
    char block[65536];
    const ssize_t size = recv(socket_, block, sizeof block, 0);
    last_error_ = size < 0 ? errno : 0;
    if (size <= 0) return false;
    bytes_.append(block, static_cast<size_t>(size));
    return true;
  }
  size_t until(std::string_view mark) {
    for (;;) {
      const size_t at = bytes_.find(mark);
      if (at != bytes_.npos) return at;
      if (!more()) return std::string::npos;
    }
  }
  std::string take(size_t size) {
    std::string text = bytes_.substr(0, size);
    bytes_.erase(0, size);
    return text;
  }
  void receive_chunks(Received& answer) {
    for (;;) {
      const size_t line_end = until("\r\n");
      if (line_end == std::string::npos) break;
      const size_t size = std::stoull(take(line_end + 2), nullptr, 16);
      while (bytes_.size() < size + 2 && more()) continue;
      if (bytes_.size() < size + 2) break;
      answer.body += take(size + 2).substr(0, size);
      if (size == 0) return;
    }
    answer.whole = false;
  }

  int socket_ = -1, last_error_ = 0;
  bool connected_ = false;
  std::string bytes_;
};

inline std::string get(const std::string& path, const std::string& headers = {}) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}
inline std::string post(const std::string& path, const std::string& body, const std::string& headers = {}) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "wan_net_XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Bytes that differ from place to place.
inline std::string pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

/// Resident memory of this process.
inline uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Sanitizers keep freed memory and have their own beside it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryCounts = false;
#else
constexpr bool kMemoryCounts = true;
#endif

inline Awaitable<void> pause(std::chrono::milliseconds time) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, time);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

}  // namespace wan::serve::testing
