// Sets of model files that a user gave a name, in models.json.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"
#include "models/files/error.h"

namespace wan {

/// {"sets": {"my-i2v": {"task": "i2v", "model": DIR, "high_noise": FILE, ...}}}, each member as the request's field of
/// its name; all may be absent.
struct ModelSet {
  std::optional<Task> task;                            // for which it is
  std::string model;                                   // folder of the parts that it does not name
  std::map<std::string, std::filesystem::path> parts;  // by field
  std::string wrong;  // "set 'x' has 'hi_noise', which is not known; ...": it cannot be used; empty: nothing
};

/// `named`, or where that is empty $XDG_CONFIG_HOME/wan-infer/models.json, by default in ~/.config; empty where the
/// environment names no such folder.
std::filesystem::path sets_file(const std::string& named);

/// All sets by name; relative paths start at the file's folder. None where the file is absent and was not named. Throws
/// ModelError where it is broken or larger than 1 MiB. A set with members that are not known is `wrong`; the others are
/// not.
std::map<std::string, ModelSet> read_sets(const std::string& named);

/// What is said of a name that is no path and none of the sets. `way` is the way out.
ModelError no_such_model(const std::string& model, const std::map<std::string, ModelSet>& sets, const std::string& way);

}  // namespace wan
