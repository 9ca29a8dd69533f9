// The commands of wan-infer and their flags, as CLI11 and --help know them.
#pragma once

#include <string>

#include "engine/request/params.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace wan {

/// Declares all commands but `check` and `plan`.
void add_commands(CLI::App& app);
/// Leaves of them what `check` stands before, with the flag that is its own.
void add_check(CLI::App& app);
/// The same for `plan`.
void add_plan(CLI::App& app);
/// The same for `calibrate`, which writes no video.
void add_calibrate(CLI::App& app);
/// Words that stand before a command as commands of --help, where none was typed.
void add_prefixes(CLI::App& app);
/// The tasks as `submit` takes them, in place of all commands.
void add_submit(CLI::App& app);
/// Whether a word stands before another command: check, plan, calibrate, submit.
bool is_prefix(const std::string& word);

/// A flag that takes a text, or none where `value` is empty; every appearance is kept, so that a second one can be told.
CLI::Option* add_flag(CLI::App& app, const std::string& flag, const std::string& value, const std::string& help,
                      const char* group);
/// --log-format.
void add_log_format(CLI::App& app);
/// The heading of flags that are about no video.
inline constexpr const char* kGeneral = "General";

/// Whether the command takes the parameter as a flag.
bool has_flag(const std::string& command, const Parameter& parameter);

}  // namespace wan
