#include "models/text/tokenizer/source.h"

#include "models/text/tokenizer/gguf_vocabulary.h"

namespace wan::text {

const MappedFile* vocabulary_file(const Checkpoint& checkpoint) {
  for (const auto& file : checkpoint.files())
    if (is_gguf(*file) && read_gguf_metadata(*file).tokenizer.contains("model")) return file.get();
  return nullptr;
}

std::optional<TokenizerSource> tokenizer_source(const Checkpoint& checkpoint) {
  if (checkpoint.tensors().contains(kSentencepieceTensor))
    return TokenizerSource{std::string("the tensor ") + kSentencepieceTensor, ""};
  const MappedFile* const file = vocabulary_file(checkpoint);
  if (!file) return std::nullopt;
  const bool has_map = read_gguf_metadata(*file).tokenizer.contains("precompiled_charsmap");
  return TokenizerSource{"tokenizer.ggml of the GGUF file",
                         has_map ? ""
                                 : "characters are normalised as NFKC, because the file has no "
                                   "tokenizer.ggml.precompiled_charsmap"};
}

}  // namespace wan::text
