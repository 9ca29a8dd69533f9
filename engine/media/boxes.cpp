#include "engine/media/boxes.h"

namespace wan {

std::vector<Box> boxes_in(Bytes bytes) {
  constexpr size_t kMost = 20'000;  // as libheif
  std::vector<Box> boxes;
  for (size_t at = 0; at + 8 <= bytes.size();) {
    // A length of 1 is followed by one of 8 bytes, 0 is the rest.
    uint64_t length = big(bytes, at, 4), head = 8;
    if (length == 1) length = big(bytes, at + 8, 8), head = 16;
    const uint64_t rest = bytes.size() - at;
    if (length == 0 || length > rest) length = rest;
    if (length < head) break;
    if (boxes.size() == kMost) throw TooManyBoxes();
    boxes.push_back({from(bytes, at + 4, 4), from(bytes, at + head, length - head)});
    at += length;
  }
  return boxes;
}

Bytes box_in(Bytes bytes, Bytes type) {
  for (const Box& box : boxes_in(bytes))
    if (box.type == type) return box.content;
  return {};
}

}  // namespace wan
