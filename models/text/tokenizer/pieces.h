// A unigram vocabulary as a sentencepiece model or a GGUF file carries it, and the tokenizer that transformers makes of it.
// Follows transformers 4.51, convert_slow_tokenizer.py (SpmConverter, T5Converter): what made the published
// tokenizer.json, so the ids are the same but for the 300 sentinels (`<extra_id_5>`) that the JSON adds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/text/tokenizer/unigram_tokenizer.h"

namespace wan::text {

/// With the numbers that both formats use.
enum class PieceKind { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

struct Piece {
  std::string text;
  double score;  // log probability
  PieceKind kind;
};

struct Pieces {
  std::vector<Piece> list;  // [id]
  int64_t end = 1;          // the id that ends a text
  bool add_space_prefix = true;
  bool remove_extra_whitespaces = true;
  std::string charsmap;      // of the normaliser, as bytes; empty: characters stay as they are
  bool normal_form = false;  // NFKC in place of an unknown charsmap: sentencepiece's default is NFKC and little more
};

/// `subject` is what messages name. Throws ModelError where there is no piece for unknown characters, or more than one,
/// where `end` is no piece, where a score is not finite or a text no UTF-8, and for a damaged character map.
UnigramTokenizer tokenizer_of(Pieces pieces, const std::string& subject);

}  // namespace wan::text
