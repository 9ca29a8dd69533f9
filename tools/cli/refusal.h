// What is wrong with a request, told to who typed the command, or to a program.
#pragma once

#include <string>
#include <vector>

#include "engine/base/error.h"

namespace wan {

/// The command among the words of a command line, also behind `check` and `plan`; empty where there is none.
std::string command_word(int argc, const char* const* argv);

/// A field as the user of this command writes it: --video for video_url, where the command has the flag; else itself.
std::string typed_name(const std::string& command, const std::string& field);

/// A line for each error: "[--num-frames] must be ...". Of a manifest's lines that are wrong in the same way the first
/// five, and how many more there are.
std::vector<std::string> refusal_lines(const InvalidRequest& invalid, const std::string& command);

/// Whether `check` or `plan` was asked for JSON; and what it then prints where not even a job could be read from the command:
/// {"fits": false, "jobs": [], "errors": [{"field", "text"}]}.
bool wants_json(int argc, const char* const* argv);
std::string refused_json(const InvalidRequest& invalid);

}  // namespace wan
