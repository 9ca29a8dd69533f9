#include "models/text/tokenizer/piece_trie.h"

#include <algorithm>

namespace wan::text {

PieceTrie::PieceTrie(std::vector<std::pair<std::string, int32_t>> entries) : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  struct Span {
    size_t begin, end, depth;  // the entries below a node agree in their first `depth` bytes
  };
  std::vector<Span> spans = {{0, entries.size(), 0}};
  for (size_t n = 0; n < nodes_.size(); ++n) {
    auto [at, end, depth] = spans[n];
    for (; at < end && entries[at].first.size() == depth; ++at) nodes_[n].value = entries[at].second;
    nodes_[n].first_child = static_cast<uint32_t>(nodes_.size());
    while (at < end) {
      const char byte = entries[at].first[depth];
      const size_t begin = at;
      while (at < end && entries[at].first[depth] == byte) ++at;
      nodes_.emplace_back().byte = static_cast<uint8_t>(byte);
      spans.push_back({begin, at, depth + 1});
      ++nodes_[n].children;
    }
  }
}

uint32_t PieceTrie::child(uint32_t node, uint8_t byte) const {
  const auto begin = nodes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].children;
  const auto found =
      std::lower_bound(begin, end, byte, [](const Node& child, uint8_t byte) { return child.byte < byte; });
  return found != end && found->byte == byte ? static_cast<uint32_t>(found - nodes_.begin()) : 0;
}

int32_t PieceTrie::find(std::string_view text) const {
  int32_t found = -1;
  prefixes(text, [&](size_t length, int32_t value) {
    if (length == text.size()) found = value;
  });
  return found;
}

}  // namespace wan::text
