// The tokenizer that the file of a text encoder carries, where no folder of a tokenizer lies beside it.
#pragma once

#include <optional>
#include <string>

#include "models/text/tokenizer/tokenizer.h"
#include "models/weights/checkpoint.h"

namespace wan::text {

/// Where a checkpoint carries a tokenizer.
struct TokenizerSource {
  std::string from;     // for messages: "the tensor spiece_model", "tokenizer.ggml of the GGUF file"
  std::string assumed;  // what the file does not say, for the log; empty where it says all
};

/// From its headers alone: of the vocabulary nothing is read, and it may be damaged. Nothing where there is none.
std::optional<TokenizerSource> tokenizer_source(const Checkpoint& checkpoint);

struct EmbeddedTokenizer {
  Tokenizer tokenizer;
  TokenizerSource source;
};

/// From the tensor `spiece_model`, or from the metadata of a GGUF file. Nothing where the checkpoint has neither.
/// Throws ModelError where what it has is damaged.
std::optional<EmbeddedTokenizer> embedded_tokenizer(const Checkpoint& checkpoint);

}  // namespace wan::text
