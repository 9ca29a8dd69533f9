// The vocabulary in the metadata of a text encoder's GGUF file: tokenizer.ggml.*.
// Source: docs/gguf.md of ggml; llama.cpp, conversion of T5 encoders and its unigram tokenizer.
#pragma once

#include <optional>
#include <string>

#include "models/text/tokenizer/pieces.h"
#include "models/weights/format/gguf_metadata.h"

namespace wan::text {

/// Nothing where the metadata hold no tokenizer. Without tokenizer.ggml.precompiled_charsmap, which older writers leave
/// out, `normal_form` is set (Pieces). `subject` is what messages name. Throws ModelError for another kind than unigram
/// ("t5"), and for lists that are absent, of another type or not equally long.
std::optional<Pieces> read_gguf_vocabulary(const GgufMetadata& metadata, const std::string& subject);

}  // namespace wan::text
