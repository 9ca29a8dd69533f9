// A web server that answers as a test wants, rightly or not.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <functional>
#include <iterator>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace wan {

/// One connection to it.
class WebClient {
 public:
  WebClient(int socket, const std::atomic<bool>& stopped) : socket_(socket), stopped_(stopped) {}
  /// False where the other side has gone, or the server ends.
  bool send(const std::string& bytes) const;
  /// Waits; false where the server ends meanwhile.
  bool wait(int milliseconds) const;
  /// "200 OK" and so on with `headers`, each ended by \r\n, and a body of that length.
  void answer(const std::string& status, const std::string& headers, const std::string& body) const;

  /// What follows the headers, as many bytes as they announce; less where the other side goes or the server ends. Answers
  /// "Expect: 100-continue".
  std::string read_body();

  std::string method, path, headers;  // of the request; headers in lower case

 private:
  friend class WebServer;
  int socket_;
  std::string begun_;  // of the body, which came with the headers
  const std::atomic<bool>& stopped_;
};

/// Listens on 127.0.0.1 until the end of the scope.
class WebServer {
 public:
  using Handler = std::function<void(WebClient&)>;
  explicit WebServer(Handler handler);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  /// http://127.0.0.1:PORT/path; `user` is put before the host, "name:password@".
  std::string url(const std::string& path, const std::string& user = "") const;
  int port() const { return port_; }
  int requests() const { return requests_; }
  /// The headers of the last request.
  std::string last_headers() const;

 private:
  void accept_all();
  void serve(int socket);

  Handler handler_;
  int listener_, port_;
  std::atomic<bool> stopped_{false};
  std::atomic<int> requests_{0};
  mutable std::mutex mutex_;
  std::string last_headers_;
  std::list<std::thread> clients_;
  std::thread acceptor_;
};

inline bool WebClient::send(const std::string& bytes) const {
  for (size_t at = 0; at < bytes.size();) {
    if (stopped_) return false;
    pollfd ready{socket_, POLLOUT, 0};
    if (poll(&ready, 1, 50) == 0) continue;
    const ssize_t sent = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent > 0) at += size_t(sent);
  }
  return true;
}

inline bool WebClient::wait(int milliseconds) const {
  for (int waited = 0; waited < milliseconds && !stopped_; waited += 10)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !stopped_;
}

inline void WebClient::answer(const std::string& status, const std::string& headers, const std::string& body) const {
  send("HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
       "\r\nConnection: close\r\n\r\n" + body);
}

inline std::string WebClient::read_body() {
  const std::string name = "\r\ncontent-length:";
  const size_t at = headers.find(name);
  const size_t size = at == headers.npos ? 0 : std::stoull(headers.substr(at + name.size()));
  if (headers.find("\r\nexpect: 100-continue") != headers.npos && begun_.size() < size)
    send("HTTP/1.1 100 Continue\r\n\r\n");
  std::string body = std::move(begun_);
  while (!stopped_ && body.size() < size) {
    pollfd ready{socket_, POLLIN, 0};
    if (poll(&ready, 1, 20) == 0) continue;
    char bytes[65536];
    const ssize_t got = recv(socket_, bytes, std::min(sizeof bytes, size - body.size()), 0);
    if (got <= 0) break;
    body.append(bytes, size_t(got));
  }
  return body;
}

inline WebServer::WebServer(Handler handler)
    : handler_(std::move(handler)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 16) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no server");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

inline WebServer::~WebServer() {
  stopped_ = true;
  acceptor_.join();
  for (std::thread& client : clients_) client.join();
  close(listener_);
}

inline std::string WebServer::url(const std::string& path, const std::string& user) const {
  return "http://" + user + "127.0.0.1:" + std::to_string(port_) + path;
}

inline std::string WebServer::last_headers() const {
  const std::lock_guard lock(mutex_);
  return last_headers_;
}

inline void WebServer::accept_all() {
  while (!stopped_) {
    pollfd ready{listener_, POLLIN, 0};
    if (poll(&ready, 1, 20) <= 0) continue;
    const int socket = accept(listener_, nullptr, nullptr);
    if (socket >= 0) clients_.emplace_back([this, socket] { serve(socket); });
  }
}

inline void WebServer::serve(int socket) {
  std::string request;
  bool tls = false;  // which begins with this byte, and has no such end
  while (!stopped_ && !tls && request.find("\r\n\r\n") == request.npos) {
    pollfd ready{socket, POLLIN, 0};
    if (poll(&ready, 1, 20) == 0) continue;
    char bytes[4096];
    const ssize_t got = recv(socket, bytes, sizeof bytes, 0);
    if (got <= 0) break;
    request.append(bytes, size_t(got));
    tls = request[0] == 0x16;
  }
  if (tls || request.find("\r\n\r\n") != request.npos) {
    WebClient client(socket, stopped_);
    const size_t begin = request.find(' ') + 1, end = request.find("\r\n\r\n");
    client.method = request.substr(0, begin - 1);
    if (end != request.npos) {
      client.begun_ = request.substr(end + 4);
      request.resize(end + 4);
    }
    client.path = request.substr(begin, request.find(' ', begin) - begin);
    std::transform(request.begin(), request.end(), std::back_inserter(client.headers),
                   [](unsigned char c) { return char(std::tolower(c)); });
    {
      const std::lock_guard lock(mutex_);
      last_headers_ = client.headers;
    }
    ++requests_;
    handler_(client);
  }
  // What the other side still sends is read: closing with unread bytes would reset the connection.
  shutdown(socket, SHUT_WR);
  close(socket);
}

}  // namespace wan
