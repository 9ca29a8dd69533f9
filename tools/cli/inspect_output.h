// The two forms of an inspection: lines and JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/residency/inspect.h"
#include "engine/residency/verify.h"
#include "tools/cli/command_line.h"

namespace wan {

/// For a terminal, one line for each network and, where asked for, for each tensor.
std::string to_text(const Inspection& inspection, bool with_tensors);
/// The same as data: {"path", "kind", "networks": [{"name", "kind", "part", "rule", "files", "tensors", ...}], "files":
/// [...], "tasks": [{"task": "t2v", "whole": false, "errors": [{"field", "text"}]}], "remarks": [...]}.
nlohmann::ordered_json to_json(const Inspection& inspection, bool with_tensors);

/// A line for each file and one for all: "differs: NAME is HEX, SHA256SUMS says HEX".
std::string to_text(const Verification& verification);
/// {"path", "lists", "same", "differ", "absent", "not_listed", "files": [{"name", "state", "bytes", "sha256", "wanted",
/// "list"}]}.
nlohmann::ordered_json to_json(const Verification& verification);

/// Looks into what the command names and prints it, as text or as one JSON object with all tensors. Returns
/// the exit code, 0: something could be listed, and what cannot be read or is lacking is told. Throws as inspect, which
/// is exit code 3.
int run_inspect(const Command& command);

}  // namespace wan
