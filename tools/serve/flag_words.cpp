#include "tools/serve/flag_words.h"

#include <algorithm>

#include "engine/base/text.h"

namespace wan {
namespace {

std::string unquoted(const std::string& name) {
  const std::string text = name.find("://") == name.npos ? shown(name) : shown_url(name);
  return text.substr(1, text.size() - 2);
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

}  // namespace

CLI::Option* add_word_flag(CLI::App& app, const std::string& names, const std::string& value, const std::string& help,
                           const char* group) {
  CLI::Option* option = value.empty() ? app.add_flag(names) : app.add_option(names);
  if (!value.empty()) option->type_name(value);
  return option->description(help)->group(group);
}

std::string FlagWords::text(const std::string& flag, const std::string& fallback) const {
  const auto found = flags.find(flag);
  return found == flags.end() ? fallback : found->second.front();
}

bool FlagWords::is_set(const std::string& flag, bool fallback) const {
  return text(flag, fallback ? "true" : "false") == "true";
}

void FlagWords::fail(const std::string& field, const std::string& wrong, const char* type) {
  errors.push_back({field, wrong, type, "", ""});
}

FlagWords read_flag_words(const std::vector<std::string>& words, const CLI::App& app, const std::string& command,
                          const std::vector<std::string>& repeated) {
  FlagWords read;
  const std::vector<std::string> known = names_of(app);
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-h" || word == "--help") {
      read.help = true;
      continue;
    }
    if (word.size() < 2 || word[0] != '-') {
      read.others.push_back(word);
      continue;
    }
    const size_t sign = word.find('=');
    const std::string name = word.substr(0, sign);
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest_text(name, known);
      read.fail(unquoted(name),
                "is not a flag of " + command + (near.empty() ? "; " + command + " --help lists them" : near),
                "unknown");
      // What follows an unknown flag is its value.
      if (sign == word.npos && i + 1 < words.size() && words[i + 1][0] != '-') ++i;
      continue;
    }
    const CLI::Option& option = *app.get_option(name);
    const std::string first = "--" + option.get_lnames().front();
    const bool takes_value = option.get_items_expected_max() > 0;
    std::string value = name == first ? "true" : "false";
    if (takes_value && sign != word.npos) {
      value = word.substr(sign + 1);
    } else if (takes_value && i + 1 < words.size()) {
      value = words[++i];
    } else if (takes_value) {
      read.fail(name, "needs a value: " + name + " " + option.get_type_name(), "missing");
      continue;
    } else if (sign != word.npos) {
      read.fail(name, "takes no value, got " + shown(word.substr(sign + 1)));
      continue;
    }
    std::vector<std::string>& values = read.flags[first];
    values.push_back(value);
    if (values.size() == 2 && std::find(repeated.begin(), repeated.end(), first) == repeated.end())
      read.fail(first, "was given more than once; give it once", "duplicate");
  }
  return read;
}

}  // namespace wan
