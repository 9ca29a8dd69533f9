// Reads a part of a file for an answer.
#pragma once

#include <span>
#include <string_view>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

/// Calls of open and read block. Errors are std::runtime_error with the path.
class FileReader {
 public:
  explicit FileReader(const FileBody& body) : body_(body) {}
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  /// Throws where it is no file, or shorter than what is to be sent.
  void open();
  /// Fills `memory`, which has at most left() bytes. Throws where the file has become shorter.
  std::string_view read(std::span<char> memory);
  uint64_t left() const { return body_.end - body_.begin; }

 private:
  FileBody body_;  // begin moves with each read
  int file_ = -1;
};

}  // namespace wan::serve
