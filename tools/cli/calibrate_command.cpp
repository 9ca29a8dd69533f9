#include "tools/cli/calibrate_command.h"

#include <algorithm>
#include <iostream>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/calibrate.h"
#include "engine/job/outputs.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/model_reuse.h"
#include "models/files/atomic_file.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/files/utf8.h"

namespace wan {
namespace {

constexpr size_t kMostPrompts = 1000, kMostBytes = 4 << 20, kMostLine = 1 << 20;

/// A prompt in each line that is not empty.
std::vector<std::string> prompts_in(const std::string& path) {
  const auto refuse = [&](const std::string& wrong) {
    throw InvalidRequest("prompts",
                         "must be a text file with a prompt in each line, and " + shown_path(path) + " " + wrong);
  };
  std::string text;
  try {
    const auto file = MappedFile::open(path);
    if (file->bytes().size() > kMostBytes) refuse("is larger than " + gigabytes(kMostBytes));
    text = file->bytes();
    if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);  // the mark that some editors begin UTF-8 with
  } catch (const ModelError&) {
    refuse("cannot be read");
  }
  if (!is_utf8(text)) refuse("is not in UTF-8");
  std::vector<std::string> prompts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == line.npos) continue;
    if (line.size() > kMostLine) refuse("has a line of more than 1 MiB, the most that a prompt may have");
    prompts.push_back(line);
  }
  if (prompts.empty()) refuse("has none");
  if (prompts.size() > kMostPrompts) refuse("has " + std::to_string(prompts.size()) + ", more than 1000");
  return prompts;
}

std::vector<std::string> prompts_of(const Command& command) {
  if (!command.prompts.empty()) return prompts_in(command.prompts);
  if (command.request.prompt.empty() && command.request.task == Task::T2V) return calibration_prompts();
  return {command.request.prompt};
}

/// What --acceleration regular makes of the file at the settings that were measured, for people.
std::string told(const Command& command) {
  Request request = command.request;
  request.acceleration = "regular";
  request.calibration = command.output;
  const StepReuse reuse = step_reuse(request, find_parts(request));
  return "with it --acceleration regular reuses " + std::to_string(reuse.reused()) + " of " +
         std::to_string(reuse.forwards()) + " forwards of these steps" +
         (reuse.nothing.empty() ? "" : ": " + reuse.nothing) + "\n";
}

}  // namespace

void run_calibrate(const Command& command, Contexts& contexts, Console& console) {
  check_beside("out", command.output, command.overwrite);
  const std::vector<std::string> prompts = prompts_of(command);
  const std::filesystem::path path = WorkFolder::beside(command.output);
  WorkFolder work(path, WorkFolder::draw_number(path), "out",
                  command.fresh ? WorkFolder::Broken::BeginAnew : WorkFolder::Broken::Refuse);
  const Calibration calibration = calibrate(command.request, prompts, work,
                                            {.fresh = command.fresh, .contexts = &contexts}, console.log(), console);
  check_beside("out", command.output, command.overwrite);  // it took long: the work stays where something has appeared
  const std::string text = to_text(calibration);
  AtomicFile file(command.output);
  file.write(text.data(), text.size());
  file.commit();
  const std::string last = told(command);  // reads the file: what was measured stays until it can be used
  work.discard();
  console.log()("calibrated", {{"out", shown_name(command.output)}, {"videos", prompts.size()}});
  std::cout << last << std::flush;
}

}  // namespace wan
