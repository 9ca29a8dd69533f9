// The two forms of an inspection: lines and JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/residency/inspect.h"

namespace wan {

/// For a terminal, one line for each network and, where asked for, for each tensor.
std::string to_text(const Inspection& inspection, bool with_tensors);
/// The same as data: {"path", "kind", "networks": [{"name", "kind", "files", "tensors", ...}], "files": [...]}.
nlohmann::ordered_json to_json(const Inspection& inspection, bool with_tensors);

}  // namespace wan
