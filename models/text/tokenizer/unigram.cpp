#include "models/text/tokenizer/unigram.h"

#include <algorithm>
#include <limits>

#include "models/files/utf8.h"

namespace wan::text {
namespace {

constexpr double kUnknownPenalty = 10;  // below the lowest score of the vocabulary

std::string byte_piece(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

Unigram::Unigram(std::vector<std::pair<std::string, double>> vocabulary, int32_t unknown, bool byte_fallback)
    : unknown_(unknown), byte_fallback_(byte_fallback) {
  std::vector<std::pair<std::string, int32_t>> entries;
  entries.reserve(vocabulary.size());
  double lowest = std::numeric_limits<double>::infinity();
  for (auto& [piece, score] : vocabulary) {
    entries.emplace_back(std::move(piece), static_cast<int32_t>(entries.size()));
    scores_.push_back(score);
    lowest = std::min(lowest, score);
  }
  unknown_score_ = lowest - kUnknownPenalty;
  trie_ = PieceTrie(std::move(entries));
  for (int byte = 0; byte < 256; ++byte) byte_pieces_[byte] = trie_.find(byte_piece(byte));
}

void Unigram::encode(std::string_view text, std::vector<int64_t>& ids) const {
  struct Node {
    double score = 0;
    size_t start = std::string_view::npos;  // of the piece that ends here on the best path
    int32_t id = -1;
  };
  std::vector<Node> ends(text.size() + 1);
  const auto offer = [&ends](size_t start, size_t end, double score, int32_t id) {
    const double total = ends[start].score + score;
    Node& node = ends[end];
    if (node.start == std::string_view::npos || total > node.score) node = {total, start, id};
  };
  char32_t character;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (!next_code_point(text, at, character)) break;
    bool known = false;
    trie_.prefixes(text.substr(start), [&](size_t length, int32_t id) {
      offer(start, start + length, scores_[id], id);
      known |= start + length == at;
    });
    if (!known) offer(start, at, unknown_score_, unknown_);
  }

  std::vector<std::string_view> pieces;  // last first
  bool in_unknown = false;
  for (size_t end = text.size(); end > 0 && ends[end].start < end; end = ends[end].start) {
    const size_t start = ends[end].start;
    const bool unknown = ends[end].id == unknown_;
    const size_t length = end - start + (unknown && in_unknown ? pieces.back().size() : 0);
    if (unknown && in_unknown) pieces.pop_back();
    pieces.push_back(text.substr(start, length));
    in_unknown = unknown;
  }
  for (size_t i = pieces.size(); i > 0; --i) append_piece(pieces[i - 1], ids);
}

void Unigram::append_piece(std::string_view piece, std::vector<int64_t>& ids) const {
  if (const int32_t known = trie_.find(piece); known >= 0) {
    ids.push_back(known);
    return;
  }
  const auto piece_of = [this](char byte) { return byte_pieces_[static_cast<uint8_t>(byte)]; };
  if (byte_fallback_ && std::all_of(piece.begin(), piece.end(), [&](char byte) { return piece_of(byte) >= 0; })) {
    for (char byte : piece) ids.push_back(piece_of(byte));
    return;
  }
  ids.push_back(unknown_);
}

}  // namespace wan::text
