// Prompts to the token ids that the text encoder takes. Follows wan/modules/tokenizers.py, HuggingfaceTokenizer, with
// transformers 4.51's T5TokenizerFast under it: tokenizer.json decides, whatever spiece.model beside it says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/tokenizer/unigram_tokenizer.h"

namespace wan::text {

constexpr int64_t kMostTokens = 512;  // the official text_len, `</s>` included

class Tokenizer {
 public:
  /// `folder` is google/umt5-xxl of a checkpoint. Where it has no tokenizer.json, its spiece.model is used: the ids are
  /// the same, but sentinels such as `<extra_id_5>` are no tokens there. Throws ModelError for files that are absent,
  /// damaged or not understood.
  static Tokenizer open(const std::filesystem::path& folder);
  /// From the bytes of a sentencepiece model (ModelProto). `label` is what messages name. Throws ModelError.
  static Tokenizer from(std::string_view model_proto, const std::string& label);
  explicit Tokenizer(UnigramTokenizer tokenizer)
      : tokenizer_(std::make_shared<const UnigramTokenizer>(std::move(tokenizer))) {}

  /// Ids of a prompt as typed: cleaned, at most kMostTokens, `</s>` at the end, no padding. Throws
  /// std::invalid_argument where it is not UTF-8, ModelError where the file's tables turn out to be damaged.
  std::vector<int64_t> encode(std::string_view prompt) const;

  /// The same for text that is taken as it is.
  std::vector<int64_t> encode_cleaned(std::string_view text) const;

  /// How many tokens a prompt has before it is cut, `</s>` included, and where the cut is: the last words that count.
  /// Throws as encode.
  struct Length {
    int64_t tokens;
    std::string last_words;  // empty where nothing is cut
  };
  Length measure(std::string_view prompt) const;

 private:
  std::shared_ptr<const UnigramTokenizer> tokenizer_;
};

}  // namespace wan::text
