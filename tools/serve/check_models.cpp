#include "tools/serve/check_models.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"

namespace wan {
namespace {

using nlohmann::json;

constexpr int kModelRefused = 3;  // the exit code of wan-inspect

struct Inspected {
  int code = -1;     // exit code; -1: it did not come to its own end
  std::string text;  // all that it wrote
};

/// Runs a program to its end.
Inspected run(const std::vector<std::string>& command) {
  Inspected result;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return result;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = -1;
  const bool runs = posix_spawn(&child, arguments[0], &files, nullptr, arguments.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&files);
  close(ends[1]);
  std::vector<char> piece(1 << 16);
  for (ssize_t got = 1; runs && got != 0;) {
    got = read(ends[0], piece.data(), piece.size());
    if (got > 0) result.text.append(piece.data(), size_t(got));
    if (got < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  int status = 0;
  if (runs && waitpid(child, &status, 0) == child && WIFEXITED(status)) result.code = WEXITSTATUS(status);
  return result;
}

/// A refusal with the ways out that this program has in place of flags of wan-infer's.
std::string with_way(const std::string& refusal, const std::string& task) {
  const size_t last = refusal.rfind("; ");
  if (last != refusal.npos && refusal.find("--", last) == refusal.npos) return refusal;
  return refusal.substr(0, last) + "; weights.md lists what " + task +
         " needs, --render PART=FILE (vae, text_encoder, ...) names a part that lies elsewhere";
}

/// Why a render of the task would be refused; empty where it would not be, or where that is not known.
std::vector<std::string> refusals(const std::string& task, const std::string& model, const Inspected& found) {
  constexpr size_t kMost = 5;
  if (found.code == kModelRefused) {  // "wan-infer: [docs] must hold checkpoints, holds none; ..."
    const size_t begin = std::min(found.text.find('['), found.text.size());
    return {with_way(found.text.substr(begin, found.text.find('\n', begin) - begin), task)};
  }
  const json told = json::parse(found.text, nullptr, /*allow_exceptions=*/false);
  if (found.code != 0 || !told.is_object() || !told.contains("tasks") || !told["tasks"].is_array()) return {};
  const std::string family = task == "v2v" ? "t2v" : task;
  for (const json& entry : told["tasks"]) {
    if (!entry.is_object() || entry.value("task", "") != family) continue;
    std::vector<std::string> all;
    for (const json& error : entry.value("errors", json::array()))
      if (all.size() < kMost)
        all.push_back(with_way("[" + error.value("field", "") + "] " + error.value("text", ""), task));
    return all;
  }
  return {with_way(shown_missing(model) + " is no model for it: " + told.value("kind", ""), task)};
}

}  // namespace

void check_models(const serve::Settings& settings, const std::filesystem::path& inspect) {
  for (const auto& [name, value] : settings.render)
    if (const Parameter* parameter = find_parameter(name); parameter && parameter->part) return;
  std::map<std::string, Inspected> known;
  std::vector<FieldError> errors;
  for (const auto& [task, model] : settings.models) {
    std::vector<std::string> command = {inspect.string(), "inspect", model, "--log-format", "json"};
    if (const auto sets = settings.render.find("models"); sets != settings.render.end())
      command.insert(command.end(), {"--models", sets->second});
    if (!known.contains(model)) known[model] = run(command);
    for (const std::string& refusal : refusals(task, model, known[model]))
      errors.push_back({"--model", "of " + task + " cannot be used: " + refusal, "value_error", "", ""});
  }
  if (!errors.empty()) throw InvalidRequest(errors);
}

}  // namespace wan
