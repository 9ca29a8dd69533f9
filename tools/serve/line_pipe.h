// Lines over two pipes: what the server says, and what it is told.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace wan {

/// Reads lines of at most serve::kMostLine bytes from a file descriptor.
class LineReader {
 public:
  explicit LineReader(int file) : file_(file) {}

  /// The next line, without its line break; nothing where none has come within `most`, and at the end. Throws
  /// std::runtime_error for a line that is too long.
  std::optional<std::string> next(std::chrono::milliseconds most);
  /// Whether there is no more: it was closed, or cannot be read.
  bool ended() const { return ended_; }

 private:
  std::optional<std::string> take();

  int file_;
  std::string rest_;
  size_t looked_ = 0;  // bytes of it that have no line break
  bool ended_ = false;
};

/// Writes messages, each as one line. Thread-safe.
class LineWriter {
 public:
  explicit LineWriter(int file) : file_(file) {}

  void send(const nlohmann::json& message);
  /// Whether nobody reads any more.
  bool broken() const { return broken_; }

 private:
  const int file_;
  std::mutex mutex_;
  std::atomic<bool> broken_ = false;
};

}  // namespace wan
