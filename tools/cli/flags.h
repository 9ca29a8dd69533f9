// The commands of wan-infer and their flags, as CLI11 and --help know them.
#pragma once

#include <string>

#include "engine/request/params.h"

namespace CLI {
class App;
}

namespace wan {

/// Declares all commands but `check`.
void add_commands(CLI::App& app);
/// Leaves of them what `check` stands before, with the flag that is its own.
void add_check(CLI::App& app);

/// Whether the command takes the parameter as a flag.
bool has_flag(const std::string& command, const Parameter& parameter);

}  // namespace wan
