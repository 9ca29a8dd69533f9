// The commands of wan-infer and their flags, as CLI11 and --help know them.
#pragma once

#include <string>

#include "engine/request/params.h"

namespace CLI {
class App;
}

namespace wan {

/// Declares all commands but `check` and `plan`.
void add_commands(CLI::App& app);
/// Leaves of them what `check` stands before, with the flag that is its own.
void add_check(CLI::App& app);
/// The same for `plan`.
void add_plan(CLI::App& app);
/// The two as commands of --help, where neither was typed.
void add_prefixes(CLI::App& app);
/// Whether a word stands before another command: check, plan.
bool is_prefix(const std::string& word);

/// Whether the command takes the parameter as a flag.
bool has_flag(const std::string& command, const Parameter& parameter);

}  // namespace wan
