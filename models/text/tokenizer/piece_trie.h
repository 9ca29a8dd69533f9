// Byte strings with a number each, found by prefix: the vocabulary of a tokenizer and its added tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wan::text {

/// Built once; 12 bytes for each node. Looking up costs a search among siblings for each byte that matches.
class PieceTrie {
 public:
  PieceTrie() : nodes_(1) {}
  /// Values are not negative. Of equal strings the last one counts; the empty string is never found.
  explicit PieceTrie(std::vector<std::pair<std::string, int32_t>> entries);

  /// Calls visit(length in bytes, value) for each entry that `text` starts with, shortest first.
  template <typename Visit>
  void prefixes(std::string_view text, Visit visit) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) visit(i + 1, nodes_[node].value);
    }
  }
  /// The value of exactly this string, -1 where it is no entry.
  int32_t find(std::string_view text) const;

 private:
  struct Node {
    uint32_t first_child = 0;
    int32_t value = -1;
    uint16_t children = 0;
    uint8_t byte = 0;
  };
  /// 0, the root, where there is none.
  uint32_t child(uint32_t node, uint8_t byte) const;

  std::vector<Node> nodes_;  // breadth first, so siblings lie together, in the order of their bytes
};

}  // namespace wan::text
