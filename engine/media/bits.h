// Numbers of any count of bits, the upper ones first; what lies beyond the end reads as 0.
#pragma once

#include <cstdint>

#include "engine/media/bytes.h"

namespace wan {

class Bits {
 public:
  explicit Bits(Bytes bytes) : bytes_(bytes) {}

  /// The next `count` bits, at most 64.
  uint64_t read(int count) {
    uint64_t value = 0;
    for (; count > 0; --count, ++at_) value = value << 1 | (number(bytes_, at_ / 8, 1, false) >> (7 - at_ % 8) & 1);
    return value;
  }
  void skip(size_t count) { at_ += count; }
  /// Exp-Golomb: zeros, a one, and as many bits as there were zeros. 0 beyond 32 of them.
  uint64_t read_ue() {
    int zeros = 0;
    while (zeros < 33 && read(1) == 0) ++zeros;
    return zeros > 32 ? 0 : ((uint64_t(1) << zeros) | read(zeros)) - 1;
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

}  // namespace wan
