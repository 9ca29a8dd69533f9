#include "models/text/tokenizer/tokenizer.h"

#include <algorithm>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/mapped_file.h"
#include "models/files/utf8.h"
#include "models/text/clean/clean.h"
#include "models/text/tokenizer/sentencepiece_model.h"
#include "models/text/tokenizer/tokenizer_json.h"

namespace wan::text {

Tokenizer Tokenizer::open(const std::filesystem::path& folder) {
  std::error_code absent;
  // Where nobody may look whether it is there, opening it tells why.
  if (std::filesystem::exists(folder / "tokenizer.json", absent) || absent == std::errc::permission_denied)
    return Tokenizer(read_tokenizer_json(folder / "tokenizer.json"));
  const std::filesystem::path pieces = folder / "spiece.model";
  if (std::filesystem::exists(pieces, absent)) {
    const auto file = MappedFile::open(pieces);
    refuse_foreign(file->bytes(), Content::Binary, pieces.string());
    return from(file->bytes(), pieces.string());
  }
  throw ModelError(folder.string(),
                   "must hold tokenizer.json or spiece.model, has neither; copy google/umt5-xxl of the checkpoint");
}

Tokenizer Tokenizer::from(std::string_view model_proto, const std::string& label) {
  return Tokenizer(tokenizer_of(read_sentencepiece(model_proto, label), label));
}

std::vector<int64_t> Tokenizer::encode(std::string_view prompt) const {
  return tokenizer_->encode(clean(prompt), kMostTokens);
}

std::vector<int64_t> Tokenizer::encode_cleaned(std::string_view text) const {
  check_utf8(text);
  return tokenizer_->encode(text, kMostTokens);
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
    return std::ssize(tokenizer_->encode(std::string_view(text).substr(0, bytes), std::ssize(text) + kMostTokens));
  };
  Length length{std::ssize(tokenizer_->encode(text, std::ssize(text) + kMostTokens)), ""};
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
