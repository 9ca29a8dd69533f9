#include "models/text/tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/mapped_file.h"

namespace wan::text {

SentencePiece SentencePiece::open(const std::filesystem::path& path) {
  constexpr size_t kLargest = 64 << 20;  // the published one has 4.5 MB
  const auto file = MappedFile::open(path);
  refuse_foreign(file->bytes(), Content::Binary, path.string());
  if (file->bytes().size() > kLargest) throw ModelError(path.string(), "must be a sentencepiece model below 64 MB");
  auto model = std::make_shared<sentencepiece::SentencePieceProcessor>();
  const auto status = model->LoadFromSerializedProto({file->bytes().data(), file->bytes().size()});
  if (!status.ok())
    throw ModelError(path.string(), "must be a sentencepiece model, is damaged or another; download it again");
  if (model->eos_id() < 0) throw ModelError(path.string(), "must have a piece for the end of a text (</s>), has none");
  SentencePiece result;
  result.model_ = std::move(model);
  return result;
}

std::vector<int64_t> SentencePiece::encode(std::string_view text, int64_t most) const {
  std::vector<int> pieces;
  const auto status = model_->Encode({text.data(), text.size()}, &pieces);
  if (!status.ok()) throw std::runtime_error("[text] must be cut into pieces, and the sentencepiece model cannot");
  std::vector<int64_t> ids(pieces.begin(), pieces.begin() + std::min<int64_t>(std::ssize(pieces), most - 1));
  ids.push_back(model_->eos_id());
  return ids;
}

}  // namespace wan::text
