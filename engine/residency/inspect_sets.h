// Sets of models.json, as `wan-infer inspect` lists them.
#pragma once

#include <filesystem>
#include <string>

#include "engine/residency/inspect.h"
#include "engine/residency/model_sets.h"

namespace wan {

/// The set's parts as networks, by the rule "set NAME"; what its folder holds besides; what a render with it would say:
/// of its task, else of those whose transformer is there, else of those that have all parts it names. `models` is the
/// file of the sets as it was named, or empty. Parts that are absent or damaged say so; throws ModelError for a set
/// that cannot be used, and where nothing that it names can be read.
Inspection inspect_set(const std::string& name, const ModelSet& set, const std::string& models);

/// The sets of a file by name, without opening what they name. Throws ModelError as read_sets.
Inspection inspect_sets(const std::filesystem::path& file);

}  // namespace wan
