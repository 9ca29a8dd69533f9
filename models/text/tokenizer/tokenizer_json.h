// The file tokenizer.json of the library tokenizers, as far as unigram models use it. Whatever else a file asks for is an
// error, never ignored.
#pragma once

#include <filesystem>

#include "models/text/tokenizer/unigram_tokenizer.h"

namespace wan::text {

/// Throws ModelError, naming file and place, where the file is absent, damaged or asks for what is not understood. Its
/// `padding` and `decoder` are not used, its `truncation` only if it keeps the end of a text, which is refused.
UnigramTokenizer read_tokenizer_json(const std::filesystem::path& path);

}  // namespace wan::text
