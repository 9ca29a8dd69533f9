#include "models/text/tokenizer/embedded.h"

#include <ATen/ATen.h>

#include "models/files/error.h"
#include "models/text/tokenizer/gguf_vocabulary.h"

namespace wan::text {
namespace {

Tokenizer from_tensor(const Checkpoint& checkpoint) {
  constexpr int64_t kLargest = 64 << 20;
  const std::string subject = checkpoint.label() + ": " + kSentencepieceTensor;
  const StoredTensor& stored = checkpoint.tensors().at(kSentencepieceTensor);
  const bool is_bytes = (stored.dtype == at::kByte || stored.dtype == at::kChar) && !stored.coding && stored.file;
  if (!is_bytes || stored.elements() > kLargest)
    throw ModelError(subject,
                     "must be the bytes of a sentencepiece model below 64 MB, is something else; download it "
                     "again");
  const at::Tensor bytes = checkpoint.map(kSentencepieceTensor).contiguous();
  const std::string_view model(static_cast<const char*>(bytes.const_data_ptr()), size_t(bytes.numel()));
  return Tokenizer::from(model, subject);
}

}  // namespace

std::optional<EmbeddedTokenizer> embedded_tokenizer(const Checkpoint& checkpoint) {
  const std::optional<TokenizerSource> source = tokenizer_source(checkpoint);
  if (!source) return std::nullopt;
  if (checkpoint.tensors().contains(kSentencepieceTensor)) return EmbeddedTokenizer{from_tensor(checkpoint), *source};
  const MappedFile& file = *vocabulary_file(checkpoint);
  const std::string subject = file.path().string();
  Pieces pieces = read_gguf_vocabulary(read_gguf_metadata(file), subject).value();
  return EmbeddedTokenizer{Tokenizer(tokenizer_of(std::move(pieces), subject)), *source};
}

}  // namespace wan::text
