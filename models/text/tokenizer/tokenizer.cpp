#include "models/text/tokenizer/tokenizer.h"

#include <algorithm>

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/text/clean/clean.h"
#include "models/text/tokenizer/sentencepiece.h"
#include "models/text/tokenizer/tokenizer_json.h"

namespace wan::text {

Tokenizer Tokenizer::open(const std::filesystem::path& folder) {
  std::error_code absent;
  if (std::filesystem::exists(folder / "tokenizer.json", absent))
    return Tokenizer([json = TokenizerJson::open(folder / "tokenizer.json")](std::string_view text, int64_t most) {
      return json.encode(text, most);
    });
  if (std::filesystem::exists(folder / "spiece.model", absent))
    return Tokenizer([model = SentencePiece::open(folder / "spiece.model")](std::string_view text, int64_t most) {
      return model.encode(text, most);
    });
  throw ModelError(folder.string(),
                   "must hold tokenizer.json or spiece.model, has neither; copy google/umt5-xxl of the checkpoint");
}

std::vector<int64_t> Tokenizer::encode(std::string_view prompt) const {
  return encode_(clean(prompt), kMostTokens);
}

std::vector<int64_t> Tokenizer::encode_cleaned(std::string_view text) const {
  check_utf8(text);
  return encode_(text, kMostTokens);
}

namespace {

/// Where a character begins, at or before `at`.
size_t whole(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (text[at] & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

Tokenizer::Length Tokenizer::measure(std::string_view prompt) const {
  constexpr size_t kShown = 40;  // bytes of the last words
  const std::string text = clean(prompt);
  const auto count = [&](size_t bytes) {
    return std::ssize(encode_(std::string_view(text).substr(0, bytes), std::ssize(text) + kMostTokens));
  };
  Length length{std::ssize(encode_(text, std::ssize(text) + kMostTokens)), ""};
  if (length.tokens <= kMostTokens) return length;
  size_t fits = 0, above = text.size();
  while (above - fits > 1) {
    const size_t middle = fits + (above - fits) / 2;
    (count(whole(text, middle)) <= kMostTokens ? fits : above) = middle;
  }
  const size_t end = whole(text, fits), begin = whole(text, end - std::min(end, kShown));
  length.last_words = text.substr(begin, end - begin);
  return length;
}

}  // namespace wan::text
