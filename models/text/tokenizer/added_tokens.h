// The added tokens of a tokenizer.json: strings that are cut out of the text before anything else happens to it.
// Follows the library tokenizers 0.21, added_vocabulary.rs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/tokenizer/piece_trie.h"

namespace wan::text {

struct AddedToken {
  std::string content;
  int32_t id;
  bool single_word;  // counts only where no word character touches it
  bool lstrip;       // takes the white space before it along
  bool rstrip;       // and behind it
  bool normalized;   // looked for in the normalised text
};

/// A stretch of text: one added token, or what lies between them (id -1).
struct Segment {
  std::string_view text;
  int32_t id;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  /// Cuts at the leftmost token, the longest where several begin there. Segments are not empty and point into `text`.
  std::vector<Segment> split(std::string_view text) const;

 private:
  std::vector<AddedToken> tokens_;
  PieceTrie trie_;  // to indices of tokens_
};

}  // namespace wan::text
