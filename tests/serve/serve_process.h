// A wan-serve of its own folder, with a worker that renders nothing (fake_worker.py), as a user starts it.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "models/files/scratch_folder.h"

namespace wan::serve {

inline std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// An answer as it came.
struct Reply {
  int status = 0;
  std::string head, body;
  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

/// Programs beside each other, and what is started there.
class ServeFolder {
 public:
  ServeFolder() {
    namespace fs = std::filesystem;
    fs::create_directory(path() / "bin");
    fs::create_directory(path() / "model");
    fs::copy_file(WAN_BINARY_DIR "/tools/wan-serve", path() / "bin/wan-serve");
    fs::copy_file(WAN_SOURCE_DIR "/tests/serve/fake_worker.py", path() / "bin/wan-engine");
    fs::permissions(path() / "bin/wan-engine", fs::perms::owner_all);
  }
  const std::filesystem::path& path() const { return scratch_.path; }
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
  /// The flags of a server that works; `more` behind them.
  std::vector<std::string> flags(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"--data",   *this / "data", "--model",  "t2v=" + *this / "model",
                                    "--device", "cpu",          "--listen", "127.0.0.1:0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

 private:
  ScratchFolder scratch_;
};

class ServeProcess {
 public:
  static constexpr int kNotPossible = 77;

  /// `before`: called in the new process; where it is false, that ends with kNotPossible.
  ServeProcess(const ServeFolder& folder, const std::vector<std::string>& words,
               const std::function<bool()>& before = {})
      : out_(folder.path() / ("out" + std::to_string(++count()))), err_(out_.string() + ".err") {
    const std::string program = folder / "bin/wan-serve", log = folder / "worker.log";
    std::vector<char*> arguments = {const_cast<char*>(program.c_str())};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    setenv("WAN_FAKE_LOG", log.c_str(), 1);
    setenv("WAN_FAKE_START", "", 1);
    child_ = fork();
    if (child_ == 0) {
      if (before && !before()) _exit(kNotPossible);
      const int flags = O_WRONLY | O_CREAT | O_TRUNC;
      if (dup2(open(out_.c_str(), flags, 0600), 1) == 1 && dup2(open(err_.c_str(), flags, 0600), 2) == 2)
        execv(program.c_str(), arguments.data());
      _exit(127);
    }
  }
  ~ServeProcess() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
  }
  ServeProcess(const ServeProcess&) = delete;
  ServeProcess& operator=(const ServeProcess&) = delete;

  std::string out() const { return bytes_of(out_); }
  std::string err() const { return bytes_of(err_); }
  void signal(int number) const { kill(child_, number); }
  pid_t process() const { return child_; }
  /// The exit code; 128 and the signal where one ended it.
  int finish() {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// Waits until stderr matches; false where the program ended before, or a minute passed.
  bool said(const std::string& pattern) {
    for (int i = 0; i < 6000; ++i) {
      if (std::regex_search(err(), std::regex(pattern))) return true;
      siginfo_t info = {};
      if (waitid(P_PID, id_t(child_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
        return std::regex_search(err(), std::regex(pattern));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// Whether it listens; port() is known then.
  bool listens() {
    if (!said("listens at https?://[^ ]*:[0-9]+")) return false;
    std::smatch found;
    const std::string text = err();
    std::regex_search(text, found, std::regex("listens at https?://[^ ]*:([0-9]+)"));
    port_ = std::stoi(found[1]);
    return true;
  }
  int port() const { return port_; }

  /// One request over a connection of its own. `headers` end with \r\n each; Host is set unless it is among them.
  Reply call(const std::string& method, const std::string& target, const std::string& headers = "",
             const std::string& body = "") const {
    const std::string host = headers.find("Host:") == headers.npos ? "Host: localhost\r\n" : "";
    // What is sent in pieces tells no length.
    const bool is_chunked = headers.find("chunked") != headers.npos;
    const std::string length = is_chunked ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const int socket = sent(method + " " + target + " HTTP/1.1\r\n" + host + "Connection: close\r\n" + headers +
                            length + "\r\n" + body);
    const Reply reply = answer_of(socket);
    close(socket);
    return reply;
  }
  /// A connection over which this was sent; the caller closes it.
  int sent(const std::string& text) const {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{.sin_family = AF_INET,
                        .sin_port = htons(uint16_t(port_)),
                        .sin_addr = {htonl(INADDR_LOOPBACK)},
                        .sin_zero = {}};
    if (connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      for (size_t at = 0; at < text.size();) {
        const ssize_t size = send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL);
        if (size <= 0) break;
        at += size_t(size);
      }
    return socket;
  }
  /// What came over a connection until the server closed it.
  static Reply answer_of(int socket) {
    std::string text;
    char bytes[8192];
    for (ssize_t got = 0; (got = recv(socket, bytes, sizeof bytes, 0)) > 0;) text.append(bytes, size_t(got));
    Reply reply;
    const size_t end = text.find("\r\n\r\n");
    if (end == text.npos) return reply;
    reply.head = text.substr(0, end), reply.body = text.substr(end + 4);
    reply.status = std::stoi(text.substr(9, 3));
    return reply;
  }
  /// Asks until the answer has this status; false after a minute.
  bool until(const std::string& target, int status, const std::string& headers = "") const {
    for (int i = 0; i < 1200; ++i) {
      if (call("GET", target, headers).status == status) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

 private:
  static int& count() {
    static int number = 0;
    return number;
  }
  std::filesystem::path out_, err_;
  pid_t child_ = -1;
  int port_ = 0;
};

}  // namespace wan::serve
