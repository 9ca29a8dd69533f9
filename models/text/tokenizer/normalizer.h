// The normalizer of a tokenizer.json: what happens to the text between added tokens before it is cut into pieces.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace wan::text {

/// UTF-8 to UTF-8.
using Normalizer = std::function<std::string(std::string)>;

/// Reads Sequence, Precompiled, Strip, Replace, NFC, NFD, NFKC, NFKD, Lowercase and Prepend; null leaves the text as it
/// is. `where` is what messages name. Throws ModelError for any other type, and for settings that are not understood.
Normalizer read_normalizer(const nlohmann::json& value, const std::string& where);

}  // namespace wan::text
