// Where the file of a text encoder carries a tokenizer, told without reading it: what lists files needs no libtorch.
#pragma once

#include <optional>
#include <string>

#include "models/weights/checkpoint.h"

namespace wan::text {

/// The tensor that holds a sentencepiece model as bytes.
inline constexpr const char* kSentencepieceTensor = "spiece_model";

/// Where a checkpoint carries a tokenizer.
struct TokenizerSource {
  std::string from;     // for messages: "the tensor spiece_model", "tokenizer.ggml of the GGUF file"
  std::string assumed;  // what the file does not say, for the log; empty where it says all
};

/// From its headers alone: of the vocabulary nothing is read, and it may be damaged. Nothing where there is none.
std::optional<TokenizerSource> tokenizer_source(const Checkpoint& checkpoint);

/// The GGUF file that holds a vocabulary; null where none does.
const MappedFile* vocabulary_file(const Checkpoint& checkpoint);

}  // namespace wan::text
