// The digest that tells contents apart: inputs, model files, requests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// SHA-256 of the parts one after another, as 64 lower-case hexadecimal digits.
std::string sha256(const std::vector<std::string_view>& parts);

}  // namespace wan
