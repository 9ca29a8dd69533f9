// The commands that speak with a running wan-serve: their flags, and what those say.
#pragma once

#include <map>
#include <string>

#include "engine/request/params.h"
#include "tools/cli/command_line.h"

namespace CLI {
class App;
}

namespace wan {

/// t2v and its like with the fields of the task's endpoint, as they stand behind `submit`.
void add_submit_tasks(CLI::App& app);
/// status, watch, cancel, logs.
void add_server_commands(CLI::App& app);
/// What batch takes for a server.
void add_batch_server_flags(CLI::App& batch);

/// Whether a command is status, watch, cancel or logs.
bool is_server_command(const std::string& command);
/// Whether a flag, "--device" or "--no-metadata", is one of local runs of the task that a server does not take.
bool is_local_flag(Task task, const std::string& flag);

/// Flags as they were typed, with their texts.
using FlagTexts = std::map<std::string, std::string>;
/// The server of the flags, or of the environment: WAN_SERVER, WAN_SERVER_KEY. Throws InvalidRequest where there is none,
/// or where one of them cannot be what it should.
ServerWords server_words(const FlagTexts& flags);
/// Throws InvalidRequest for flags of batch that mean nothing without a server, or nothing with one.
void refuse_server_flags(const FlagTexts& flags);
void refuse_local_flags(const FlagTexts& flags);
/// Throws InvalidRequest unless it has the form of the ids that servers give.
void check_job_id(const std::string& id);

}  // namespace wan
