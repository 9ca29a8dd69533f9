#include "tools/cli/batch_output.h"

#include <cstdio>

#include "engine/request/params.h"
#include "models/files/atomic_file.h"

namespace wan {

namespace {

struct StateWord {
  JobState state;
  const char* word;
};
constexpr StateWord kStates[] = {
    {JobState::Done, "done"}, {JobState::Kept, "kept"}, {JobState::Failed, "failed"}, {JobState::Left, "left"}};

const char* word(JobState state) {
  for (const StateWord& known : kStates)
    if (known.state == state) return known.word;
  return "";
}

/// An error of several lines, each below the job.
std::string indented(const std::string& text) {
  std::string lines = "                         ";
  const std::string margin = "\n" + lines;
  for (char letter : text) lines += letter == '\n' ? margin : std::string(1, letter);
  return lines + "\n";
}

}  // namespace

std::string to_text(const RunResult& result) {
  std::string text = "  line  state     seconds  output\n";
  for (const JobResult& job : result.jobs) {
    char row[64];
    std::snprintf(row, sizeof row, "%6ld  %-6s  %9.1f  ", long(job.line), word(job.state), job.seconds);
    text += row + job.name + "\n";
    if (!job.error.empty()) text += indented(job.error);
  }
  text += std::to_string(result.jobs.size()) + " jobs:";
  for (const StateWord& known : kStates)
    if (int64_t count = result.count(known.state)) text += " " + std::to_string(count) + " " + known.word + ",";
  return text + " " + std::to_string(result.expert_loads) + " expert loads\n";
}

nlohmann::ordered_json to_json(const RunResult& result) {
  nlohmann::ordered_json json = {{"jobs", nlohmann::ordered_json::array()}};
  for (const JobResult& job : result.jobs) {
    nlohmann::ordered_json row = {{"line", job.line},         {"task", task_name(job.request.task)},
                                  {"seed", job.request.seed}, {"out", job.name},
                                  {"state", word(job.state)}, {"seconds", job.seconds}};
    if (!job.error.empty()) row["error"] = job.error;
    json["jobs"].push_back(row);
  }
  for (const StateWord& known : kStates) json[known.word] = result.count(known.state);
  json["cancelled"] = result.cancelled;
  json["prompts_encoded"] = result.prompts_encoded;
  json["inputs_encoded"] = result.inputs_encoded;
  json["expert_loads"] = result.expert_loads;
  return json;
}

void write_report(const std::string& path, const RunResult& result) {
  const std::string text = to_json(result).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace wan
