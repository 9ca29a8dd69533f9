#include "models/text/tokenizer/tokenizer.h"

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/text/clean/clean.h"
#include "models/text/tokenizer/sentencepiece.h"
#include "models/text/tokenizer/tokenizer_json.h"

namespace wan::text {

Tokenizer Tokenizer::open(const std::filesystem::path& folder) {
  std::error_code absent;
  if (std::filesystem::exists(folder / "tokenizer.json", absent))
    return Tokenizer([json = TokenizerJson::open(folder / "tokenizer.json")](std::string_view text) {
      return json.encode(text, kMostTokens);
    });
  if (std::filesystem::exists(folder / "spiece.model", absent))
    return Tokenizer([model = SentencePiece::open(folder / "spiece.model")](std::string_view text) {
      return model.encode(text, kMostTokens);
    });
  throw ModelError(folder.string(),
                   "must hold tokenizer.json or spiece.model, has neither; copy google/umt5-xxl of the checkpoint");
}

std::vector<int64_t> Tokenizer::encode(std::string_view prompt) const {
  return encode_(clean(prompt));
}

std::vector<int64_t> Tokenizer::encode_cleaned(std::string_view text) const {
  check_utf8(text);
  return encode_(text);
}

}  // namespace wan::text
