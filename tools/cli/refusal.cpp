#include "tools/cli/refusal.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/request/manifest_lines.h"
#include "tools/cli/flags.h"

namespace wan {

namespace {

/// "line 3, num_frames" without the line; nothing where it is no line of a manifest.
std::optional<std::string> field_in_line(const std::string& field) {
  if (!field.starts_with("line ")) return std::nullopt;
  const size_t comma = field.find(", ");
  return comma == std::string::npos ? "" : field.substr(comma + 2);
}

/// What makes errors of a manifest's lines alike: the field, and the kind of error.
using Kind = std::pair<std::string, std::string>;

struct Alike {
  size_t count = 0;
  std::string first;  // the line
};

}  // namespace

std::string command_word(int argc, const char* const* argv) {
  const int at = argc > 1 && is_prefix(argv[1]) ? 2 : 1;
  return argc > at ? argv[at] : "";
}

std::string typed_name(const std::string& command, const std::string& field) {
  if (const Parameter* parameter = find_parameter(field))
    return has_flag(command, *parameter) ? parameter->flag() : field;
  for (const char* flag :
       {"--contact-sheet", "--capture-qk", "--preview", "--threads", "--log-format", "--order", "--work", "--shard",
        "--verify", "--prompts", "--gpu", "--host", "--link", "--disk", "--to", "--merge-lora", "--lpips", "--plot"}) {
    if (flag == std::string("--work") && command != "batch") continue;
    std::string name = flag + 2;
    if (field == name) return flag;
    std::replace(name.begin(), name.end(), '-', '_');
    if (field == name) return flag;
  }
  return field;
}

std::vector<std::string> refusal_lines(const InvalidRequest& invalid, const std::string& command) {
  constexpr size_t kFew = 5;
  std::map<Kind, Alike> kinds;
  std::vector<std::string> lines;
  for (FieldError error : invalid.errors) {
    if (const auto field = field_in_line(error.field)) {
      Alike& alike = kinds[{*field, error.type}];
      if (alike.count == 0) alike.first = error.field;
      if (++alike.count > kFew) continue;
    }
    error.field = typed_name(command, error.field);
    lines.push_back(error.line());
  }
  const std::string about = invalid.errors.size() >= LineErrors::kMost ? "at least " : "";
  for (const auto& [kind, alike] : kinds)
    if (alike.count > kFew)
      lines.push_back("[manifest] has " + about + std::to_string(alike.count - kFew) + " more errors like that of " +
                      alike.first);
  const char* server = std::getenv("WAN_SERVER");
  const auto lacks_model = [](const FieldError& error) {
    return error.type == "missing" && field_in_line(error.field) == "model";
  };
  if (command == "batch" && server && *server && std::any_of(invalid.errors.begin(), invalid.errors.end(), lacks_model))
    lines.push_back(
        "[--server] is absent, so the batch is rendered here: WAN_SERVER alone sends none; give --server URL");
  return lines;
}

bool wants_json(int argc, const char* const* argv) {
  if (argc < 2 || !is_prefix(argv[1]) || argv[1] == std::string("submit")) return false;
  return std::any_of(argv + 2, argv + argc, [](const char* word) { return word == std::string("--json"); });
}

std::string refused_json(const InvalidRequest& invalid) {
  nlohmann::ordered_json errors = nlohmann::ordered_json::array();
  for (const FieldError& error : invalid.errors) errors.push_back({{"field", error.field}, {"text", error.wrong}});
  const nlohmann::ordered_json all = {{"fits", false}, {"jobs", nlohmann::ordered_json::array()}, {"errors", errors}};
  return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace wan
