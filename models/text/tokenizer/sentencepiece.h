// A spiece.model through libsentencepiece, for folders that have no tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace wan::text {

class SentencePiece {
 public:
  /// Throws ModelError where the file is no such model or has no `</s>`.
  static SentencePiece open(const std::filesystem::path& path);

  /// Ids of UTF-8 text, cut to `most` with the final `</s>`.
  std::vector<int64_t> encode(std::string_view text, int64_t most) const;

 private:
  std::shared_ptr<const sentencepiece::SentencePieceProcessor> model_;
};

}  // namespace wan::text
