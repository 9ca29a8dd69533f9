// The tokenizer that the file of a text encoder carries, where no folder of a tokenizer lies beside it.
#pragma once

#include <optional>
#include <string>

#include "models/text/tokenizer/source.h"
#include "models/text/tokenizer/tokenizer.h"

namespace wan::text {

struct EmbeddedTokenizer {
  Tokenizer tokenizer;
  TokenizerSource source;
};

/// From the tensor `spiece_model`, or from the metadata of a GGUF file. Nothing where the checkpoint has neither.
/// Throws ModelError where what it has is damaged.
std::optional<EmbeddedTokenizer> embedded_tokenizer(const Checkpoint& checkpoint);

}  // namespace wan::text
