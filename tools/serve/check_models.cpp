#include "tools/serve/check_models.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
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

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kMostTime{10};  // for all models: of one that takes longer, as on a slow disk, jobs tell
constexpr int kModelRefused = 3;               // the exit code of wan-inspect

struct Inspected {
  int code = -1;     // exit code; -1: it did not come to its own end
  std::string text;  // all that it wrote
};

struct Running {
  pid_t child = -1;  // -1: it could not be started
  int out = -1;      // what it writes
};

Running started(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Running running{.child = -1, .out = ends[0]};
  const bool runs = posix_spawn(&running.child, arguments[0], &files, nullptr, arguments.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&files);
  close(ends[1]);
  if (runs) return running;
  close(ends[0]);
  return {};
}

/// Its end, or what it had written when the time was over: then it is told to end, and not waited for, since a process
/// that hangs in a disk does not end by a signal either.
Inspected ended(const Running& running, Clock::time_point until) {
  Inspected result;
  if (running.child < 0) return result;
  std::vector<char> piece(1 << 16);
  bool whole = false;
  while (!whole) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd ready = {.fd = running.out, .events = POLLIN, .revents = 0};
    const int came = left > 0 ? poll(&ready, 1, int(left)) : 0;
    if (came < 0 && errno == EINTR) continue;
    if (came <= 0) break;
    const ssize_t got = read(running.out, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    result.text.append(piece.data(), size_t(got));
    whole = got == 0;
  }
  close(running.out);
  if (!whole) kill(running.child, SIGKILL);
  int status = 0;
  if (waitpid(running.child, &status, whole ? 0 : WNOHANG) == running.child && whole && WIFEXITED(status))
    result.code = WEXITSTATUS(status);
  return result;
}

/// A refusal with the ways out that this program has in place of flags of wan-infer's.
std::string with_way(const std::string& refusal, const std::string& task) {
  if (const size_t of_inspect = refusal.find("; inspect takes "); of_inspect != refusal.npos)
    return refusal.substr(0, of_inspect) + "; --model " + task + "=DIR names a folder, a file or a set";
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
  // Of a checkpoint of real size the tensors are most of the text, and of no use here.
  const json told = json::parse(
      found.text,
      [](int, json::parse_event_t event, const json& value) {
        return event != json::parse_event_t::key || value != "tensors";
      },
      /*allow_exceptions=*/false);
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
  for (const json& network : told.value("networks", json::array()))
    if (network.is_object() && network.contains("why"))
      return {with_way(network.value("name", "") + " cannot be read: " + network.value("why", ""), task)};
  return {with_way(shown_missing(model) + " is no model for it: " + told.value("kind", ""), task)};
}

}  // namespace

void check_models(const serve::Settings& settings, const std::filesystem::path& inspect) {
  for (const auto& [name, value] : settings.render)
    if (const Parameter* parameter = find_parameter(name); parameter && parameter->part) return;
  std::map<std::string, Running> running;
  for (const auto& [task, model] : settings.models) {
    if (running.contains(model)) continue;
    std::vector<std::string> command = {inspect.string(), "inspect", model, "--log-format", "json"};
    if (const auto sets = settings.render.find("models"); sets != settings.render.end())
      command.insert(command.end(), {"--models", sets->second});
    running[model] = started(command);
  }
  const Clock::time_point until = Clock::now() + kMostTime;
  std::map<std::string, Inspected> known;
  for (const auto& [model, program] : running) known[model] = ended(program, until);
  std::vector<FieldError> errors;
  for (const auto& [task, model] : settings.models)
    for (const std::string& refusal : refusals(task, model, known[model]))
      errors.push_back({"--model", "of " + task + " cannot be used: " + refusal, "value_error", "", ""});
  if (!errors.empty()) throw InvalidRequest(errors);
}

}  // namespace wan
