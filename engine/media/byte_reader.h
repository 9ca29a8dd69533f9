// A file of which a few bytes are read here and there. Included by this folder's .cpp files only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

namespace wan {

class ByteReader {
 public:
  /// A file that cannot be opened has no bytes.
  explicit ByteReader(const std::string& path) : in_(path, std::ios::binary | std::ios::ate) {
    size_ = in_ ? uint64_t(std::streamoff(in_.tellg())) : 0;
  }
  uint64_t size() const { return size_; }
  /// Up to `count` bytes at `at`, fewer at the end.
  std::string at(uint64_t at, size_t count) {
    std::string bytes(at < size_ ? size_t(std::min<uint64_t>(count, size_ - at)) : 0, '\0');
    in_.clear();
    in_.seekg(std::streamoff(at));
    in_.read(bytes.data(), std::streamsize(bytes.size()));
    return bytes;
  }

 private:
  std::ifstream in_;
  uint64_t size_;
};

}  // namespace wan
