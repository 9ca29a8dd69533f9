#include "models/text/tokenizer.h"

#include "models/error.h"
#include "models/text/clean.h"
#include "models/text/sentencepiece.h"
#include "models/text/tokenizer_json.h"
#include "models/utf8.h"

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
