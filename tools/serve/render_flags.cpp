// Fields that the operator gives to every job.
#include <algorithm>
#include <map>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "tools/serve/flag_sections.h"

namespace wan {
namespace {

using serve::Settings;

/// Fields that each request has of its own, or that have a flag here.
bool is_taken(const Parameter& parameter) {
  const std::string name = parameter.name;
  return parameter.media || name == "prompt" || name == "out" || name == "seed" || name == "model" ||
         name == "interpolator" || name == "device" || name == "precision" || name == "acceleration" ||
         name == "expander_url" || name == "expander_model" || name == "safety_checker" || name == "safety_threshold" ||
         name == "safety_action" || name == "discard" || name == "blocked_words" || name == "private_urls" ||
         name == "width" || name == "height";
}

std::string near(const std::string& name) {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters()) names.push_back(parameter.name);
  return nearest_text(name, names);
}

/// Their values, by the table: in a request of each task that is served and takes them.
void check_render(FlagWords& words, const Settings& settings) {
  std::vector<std::string> told;
  std::map<std::string, int> takers;
  for (Task task : kTasks) {
    const std::string name = task_name(task);
    const bool served = settings.models.contains(name) || (task == Task::V2V && settings.models.contains("t2v"));
    if (!served) continue;
    // For the jobs that have it: as a flag a calibration is refused without.
    nlohmann::json fields = {{"prompt", ""}, {"acceleration", "regular"}};
    if (!settings.expander_url.empty() && task != Task::S2V) fields["expander_url"] = settings.expander_url;
    for (const auto& [field, value] : settings.render)
      if (const Parameter& parameter = *find_parameter(field); parameter.accepts(task)) {
        fields[field] = parameter.repeated ? nlohmann::json(std::vector<std::string>{value}) : nlohmann::json(value);
        ++takers[field];
      }
    try {
      parse(task, fields, {.source = Source::Flags, .need_model = false, .check_files = false});
    } catch (const InvalidRequest& invalid) {
      for (const FieldError& error : invalid.errors) {
        const std::string wrong = "of " + error.field + " " + error.wrong;
        if (!settings.render.contains(error.field) || std::find(told.begin(), told.end(), wrong) != told.end())
          continue;
        told.push_back(wrong);
        words.fail("--render", wrong, error.type.c_str());
      }
    }
  }
  for (const auto& [field, value] : settings.render)
    if (!takers.contains(field) && !settings.models.empty())
      words.fail("--render", "of " + field + " has no effect: no task that is served takes it");
}

}  // namespace

void read_render(FlagWords& words, Settings& settings) {
  const auto found = words.flags.find("--render");
  if (found == words.flags.end()) return;
  for (const std::string& text : found->second) {
    const size_t sign = text.find('=');
    const std::string name = text.substr(0, sign);
    const Parameter* parameter = find_parameter(name);
    if (sign == text.npos)
      words.fail("--render", "must be NAME=VALUE, got " + shown(text));
    else if (!parameter)
      words.fail("--render", "must name a field of a request, got " + shown(name) + near(name), "unknown");
    else if (is_taken(*parameter))
      words.fail("--render", "cannot set " + name + ": each request has its own, or a flag of wan-serve sets it");
    else if (!settings.render.emplace(name, text.substr(sign + 1)).second)
      words.fail("--render", "was given twice for " + name + "; give it once", "duplicate");
  }
  check_render(words, settings);
}

}  // namespace wan
