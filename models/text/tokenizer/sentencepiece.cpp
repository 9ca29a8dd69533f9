#include "models/text/tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "models/files/error.h"
#include "models/files/mapped_file.h"

namespace wan::text {

SentencePiece SentencePiece::open(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  auto model = std::make_shared<sentencepiece::SentencePieceProcessor>();
  const auto status = model->LoadFromSerializedProto({file->bytes().data(), file->bytes().size()});
  if (!status.ok()) throw ModelError(path.string(), std::string("must be a sentencepiece model: ") + status.message());
  if (model->eos_id() < 0) throw ModelError(path.string(), "must have a piece for the end of a text (</s>), has none");
  SentencePiece result;
  result.model_ = std::move(model);
  return result;
}

std::vector<int64_t> SentencePiece::encode(std::string_view text, int64_t most) const {
  std::vector<int> pieces;
  const auto status = model_->Encode({text.data(), text.size()}, &pieces);
  if (!status.ok()) throw std::runtime_error(std::string("[sentencepiece] ") + status.message());
  std::vector<int64_t> ids(pieces.begin(), pieces.begin() + std::min<int64_t>(std::ssize(pieces), most - 1));
  ids.push_back(model_->eos_id());
  return ids;
}

}  // namespace wan::text
