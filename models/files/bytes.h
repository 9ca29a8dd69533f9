// Reads little-endian numbers out of a file, checked against its end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "models/files/error.h"

namespace wan {

static_assert(std::endian::native == std::endian::little, "checkpoints are little-endian and are mapped as they are");

/// Walks over `bytes`. Everything that would pass the end throws ModelError about `subject`.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string subject) : bytes_(bytes), subject_(std::move(subject)) {}

  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - position_) throw ModelError(subject_, "ends too early; download it again");
    position_ += size;
    return bytes_.substr(position_ - size, size);
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  void skip(uint64_t size) { take(size); }
  /// Up to and without the next line feed, which is passed.
  std::string_view line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) throw ModelError(subject_, "ends too early; download it again");
    const std::string_view text = take(end - position_);
    skip(1);
    return text;
  }
  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

 private:
  std::string_view bytes_;
  std::string subject_;
  size_t position_ = 0;
};

}  // namespace wan
