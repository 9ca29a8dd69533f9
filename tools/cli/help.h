// How --help is laid out.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "engine/request/params.h"

namespace wan {

/// Flags in one column, their wrapped descriptions in the next.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* subcommand) const override;
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_positionals(const CLI::App* app) const override;  // none: the usage line names them
  std::string make_group(std::string group, bool is_positional, std::vector<const CLI::Option*> options) const override;
};

/// The table's sentence about a parameter, with unit, range and defaults for the task; `required`: a command needs it.
std::string describe(const Parameter& parameter, Task task, bool required);

/// The same where a server renders it: its endpoint's range, and no default that the server may have another of.
std::string describe_hosted(const Parameter& parameter, Task task);

/// What stands for the value of a flag: N, FILE, or the choices a|b|c.
std::string value_name(const Parameter& parameter, Task task);

}  // namespace wan
