// Sets of model files that a user gave a name, in models.json.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// {"sets": {"my-i2v": {"task": "i2v", "model": DIR, "high_noise": FILE, ...}}}, each member as the request's field of
/// its name; all may be absent.
struct ModelSet {
  std::optional<Task> task;                            // for which it is
  std::string model;                                   // folder of the parts that it does not name
  std::map<std::string, std::filesystem::path> parts;  // by field
};

/// `named`, or where that is empty $XDG_CONFIG_HOME/wan-infer/models.json, by default in ~/.config; empty where the
/// environment names no such folder.
std::filesystem::path sets_file(const std::string& named);

/// All sets by name; relative paths start at the file's folder. None where the file is absent and was not named. Throws
/// ModelError where it is broken, larger than 1 MiB or has members that are not known.
std::map<std::string, ModelSet> read_sets(const std::string& named);

}  // namespace wan
