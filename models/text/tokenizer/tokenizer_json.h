// The file tokenizer.json of the library tokenizers, as far as unigram models use it: added tokens, normalizer,
// Metaspace, Unigram, template. Whatever else a file asks for is an error, never ignored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "models/text/tokenizer/added_tokens.h"
#include "models/text/tokenizer/metaspace.h"
#include "models/text/tokenizer/normalizer.h"
#include "models/text/tokenizer/unigram.h"

namespace wan::text {

class TokenizerJson {
 public:
  /// Throws ModelError, naming file and place, where the file is absent, damaged or asks for what is not understood.
  /// Its `padding` and `decoder` are not used, its `truncation` only if it keeps the end of a text, which is refused.
  static TokenizerJson open(const std::filesystem::path& path);

  /// Ids of UTF-8 text, cut so that with those that the template adds they are `most` (at least as many as it adds).
  std::vector<int64_t> encode(std::string_view text, int64_t most) const;

 private:
  struct Parts;
  std::shared_ptr<const Parts> parts_;
};

}  // namespace wan::text
