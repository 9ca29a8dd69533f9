// The file of a sentencepiece model: a spiece.model, or the tensor `spiece_model` of a text encoder's file.
// Source: sentencepiece_model.proto of the library sentencepiece, and the encoding of protocol buffers.
#pragma once

#include <string>
#include <string_view>

#include "models/text/tokenizer/pieces.h"

namespace wan::text {

/// `model` is a ModelProto of a unigram model. `subject` is what messages name. Throws ModelError where it is damaged,
/// larger than 64 MB, of another kind, or has no piece for the end of a text.
Pieces read_sentencepiece(std::string_view model, const std::string& subject);

}  // namespace wan::text
