#include "tools/cli/help.h"

#include <map>
#include <sstream>

#include "engine/base/text.h"
#include "engine/request/presets.h"

namespace wan {
namespace {

constexpr size_t kColumn = 30, kWidth = 110;

/// `name` in the left column, the words of `text` wrapped in the right one.
std::string entry(const std::string& name, const std::string& text) {
  std::string result = "  " + name;
  size_t at = result.size();
  if (at + 2 > kColumn) {
    result += "\n";
    at = 0;
  }
  result += std::string(kColumn - at, ' ');
  at = kColumn;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (at > kColumn && at + 1 + word.size() > kWidth) {
      result += "\n" + std::string(kColumn, ' ');
      at = kColumn;
    }
    result += (at > kColumn ? " " : "") + word;
    at += word.size() + (at > kColumn ? 1 : 0);
  }
  return result + "\n";
}

std::string value_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number() ? number_text(value.get<double>()) : value.dump();
}

}  // namespace

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string name = is_positional ? option->get_name(true) : "--" + option->get_lnames().front();
  if (!is_positional && option->get_items_expected_max() > 0) name += " " + option->get_type_name();
  return entry(name, option->get_description());
}

std::string HelpFormatter::make_subcommand(const CLI::App* subcommand) const {
  return entry(subcommand->get_name(), subcommand->get_description());
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  std::string usage = "Usage: " + name;
  for (const CLI::Option* option : app->get_options([](const CLI::Option* o) { return o->get_positional(); }))
    usage += " " + option->get_name(true);
  if (!app->get_subcommands({}).empty()) usage += " COMMAND";
  return usage + " [FLAGS]\n\n";
}

std::string HelpFormatter::make_positionals(const CLI::App*) const {
  return "";
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  std::string text = group + ":\n";
  for (const CLI::Option* option : options) text += make_option(option, is_positional);
  return text;
}

std::string describe(const Parameter& parameter, Task task, bool required) {
  const Accepts& accepts = *parameter.accepts(task);
  std::string text = parameter.help;
  if (required) text += " Required.";
  const bool number = std::holds_alternative<int64_t Request::*>(parameter.field) ||
                      std::holds_alternative<uint64_t Request::*>(parameter.field) ||
                      std::holds_alternative<double Request::*>(parameter.field);
  if (number) {
    const std::string hosted = accepts.hosted.text(parameter.unit), engine = accepts.engine.text();
    text += " Takes a number " + hosted;
    text += accepts.hosted.text() == engine ? "." : "; unlocked " + engine + ".";
  }
  if (accepts.from_input && task == Task::V2V)
    return text + " Unset: " + value_text(accepts.value) + ", or as many as the input has where that is fewer.";
  if (accepts.from_input) return text + " Unset: as long as the input.";
  const bool has_default = number ? accepts.value.is_number() && accepts.engine.contains(accepts.value.get<double>())
                                  : accepts.value == true || !accepts.words.empty();
  if (!has_default) return text;
  text += " Default " + value_text(accepts.value);
  if (accepts.value == true) return text + "; " + "--no-" + parameter.flag().substr(2) + " turns it off.";
  for (const Preset& preset : presets()) {
    const nlohmann::json value = preset_value(preset.name, task, parameter.name);
    if (!value.is_null() && value != accepts.value)
      text += std::string("; with --preset ") + preset.name + " " + value_text(value);
  }
  return text + ".";
}

/// The help without what only local runs have: flags for the weights, presets, --dry-run.
static std::string hosted_help(const Parameter& parameter) {
  static const std::map<std::string, const char*> kOther = {
      {"negative_prompt", "What the video should avoid."},
      {"interpolator_model", "Model that draws frames between those that are generated."},
      {"acceleration", "regular reuses the transformer's residual in steps that would hardly change it."},
      {"enable_safety_checker", "Look at the prompt and the input pictures before anything is computed."},
      {"enable_output_safety_checker", "Look at frames of the finished video before its file appears."}};
  const auto found = kOther.find(parameter.name);
  return found == kOther.end() ? parameter.help : found->second;
}

std::string describe_hosted(const Parameter& parameter, Task task) {
  const Accepts& accepts = *parameter.accepts(task);
  std::string text = hosted_help(parameter);
  if (parameter.required) text += " Required.";
  const bool number = std::holds_alternative<int64_t Request::*>(parameter.field) ||
                      std::holds_alternative<double Request::*>(parameter.field);
  if (number) text += " Takes a number " + accepts.hosted.text(parameter.unit) + ".";
  const bool by_server = parameter.field == Field(&Request::interpolator_model) ||
                         parameter.field == Field(&Request::acceleration) || parameter.switched_by;
  if (parameter.field == Field(&Request::enable_prompt_expansion))
    return "Let the server's language model write the prompt out; refused where it has none.";
  if (parameter.unserved || by_server) return text + " Unset: as the server has it.";
  const bool has_default = number ? accepts.value.is_number() : accepts.value == true || !accepts.words.empty();
  return has_default ? text + " Default " + value_text(accepts.value) + "." : text;
}

std::string value_name(const Parameter& parameter, Task task) {
  const Accepts& accepts = *parameter.accepts(task);
  if (accepts.words.empty()) return parameter.metavar;
  std::string text;
  for (const std::string& word : accepts.words) text += (text.empty() ? "" : "|") + word;
  return text + (parameter.numbered ? "[:N]" : "");
}

}  // namespace wan
