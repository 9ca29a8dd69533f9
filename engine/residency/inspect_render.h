// What inspected files are together, and what a render would say of them: the last step of inspect() for a folder and
// for a set.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/residency/inspect.h"
#include "engine/residency/recognised_files.h"

namespace wan {

/// Those whose transformer is among the networks: t2v (which stands for v2v, too), i2v, s2v.
std::vector<Task> tasks_of(const Inspection& inspection);

/// Says which of several files a part is, then looks for the parts of each task as a render with `--model MODEL
/// --models MODELS` does, and adds what that comes to: tasks with their refusals, the rules of the networks that would
/// be taken and of those that would not, notes, and the kind (model_kind). `paths` are those of the networks.
void tell_model(const std::vector<Task>& tasks, const std::string& model, const std::string& models,
                const std::vector<std::filesystem::path>& paths, RecognisedFiles& files, Inspection& inspection);

}  // namespace wan
