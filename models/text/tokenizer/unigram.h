// The unigram language model: the segmentation of a text whose pieces have the greatest total score.
// Follows the library tokenizers 0.21, models/unigram, whose ids the reference uses.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/text/tokenizer/piece_trie.h"

namespace wan::text {

class Unigram {
 public:
  /// `vocabulary` [id] -> piece and its log probability, not empty; `unknown` is an id in it. With `byte_fallback` an
  /// unknown run becomes the pieces `<0x00>`..`<0xFF>` of its UTF-8 bytes, where all that it needs exist.
  Unigram(std::vector<std::pair<std::string, double>> vocabulary, int32_t unknown, bool byte_fallback);

  /// Appends the ids of `text`, which is UTF-8. Consecutive unknown characters are one unknown piece.
  /// Linear in the length of the text, times that of the longest piece found.
  void encode(std::string_view text, std::vector<int64_t>& ids) const;

  /// The id of a piece, -1 where it is not in the vocabulary.
  int32_t id(std::string_view piece) const { return trie_.find(piece); }

 private:
  void append_piece(std::string_view piece, std::vector<int64_t>& ids) const;

  PieceTrie trie_;
  std::vector<double> scores_;
  int32_t unknown_;
  double unknown_score_;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_pieces_{};
};

}  // namespace wan::text
