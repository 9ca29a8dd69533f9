// A tokenizer of a unigram model, from whatever file it was made: added tokens, normalizer, Metaspace, Unigram, template.
// Follows the library tokenizers 0.21.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/text/tokenizer/added_tokens.h"
#include "models/text/tokenizer/metaspace.h"
#include "models/text/tokenizer/normalizer.h"
#include "models/text/tokenizer/unigram.h"

namespace wan::text {

struct UnigramTokenizer {
  /// Ids of UTF-8 text, cut so that with `before` and `behind` they are `most` (at least as many as these two have).
  std::vector<int64_t> encode(std::string_view text, int64_t most) const;

  Unigram model;
  AddedTokens literal;     // looked for in the text as it is
  AddedTokens normalized;  // and in the normalised text between those
  Normalizer normalizer;
  Metaspace metaspace;
  std::vector<int64_t> before, behind;  // what stands around the ids of a text
};

}  // namespace wan::text
