// Which modules a key of PEFT's patterns means.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace wan::lora {

/// Whether a module's name is meant.
using ModulePattern = std::function<bool(std::string_view)>;

/// Whether a key is a name: letters, digits, "_", "-" and ".". Another is a regular expression.
bool is_name(std::string_view key);

/// As PEFT reads a key: of the modules whose whole name matches `(.*\.)?(KEY)$`, so that the dot of a name is any
/// character. Throws std::invalid_argument for an expression that cannot be read, or that could take long whatever it
/// means: longer than 200 bytes, with "{", or with a group "(?" other than "(?:".
ModulePattern module_pattern(const std::string& key);

}  // namespace wan::lora
