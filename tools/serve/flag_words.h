// A command line against a table of flags: names to texts, and everything that is wrong with it.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "engine/base/error.h"

namespace wan {

/// Adds a flag that takes a text, named by `value`, or none where that is empty.
CLI::Option* add_word_flag(CLI::App& app, const std::string& names, const std::string& value, const std::string& help,
                           const char* group);

/// What was typed. A flag without a value has the text "true", and "false" where its other name (--no-...) came.
struct FlagWords {
  std::map<std::string, std::vector<std::string>> flags;  // by the first name, "--listen"
  std::vector<std::string> others;                        // words that belong to no flag
  bool help = false;
  std::vector<FieldError> errors;

  bool has(const std::string& flag) const { return flags.contains(flag); }
  std::string text(const std::string& flag, const std::string& fallback = "") const;
  bool is_set(const std::string& flag, bool fallback = false) const;
  void fail(const std::string& field, const std::string& wrong, const char* type = "value_error");
};

/// Reads `words`; a flag of `app` that is not among `repeated` may come once. "--name=value" is taken, too. Unknown
/// flags are told with the nearest one; `command` is the program's name in messages.
FlagWords read_flag_words(const std::vector<std::string>& words, const CLI::App& app, const std::string& command,
                          const std::vector<std::string>& repeated = {});

}  // namespace wan
