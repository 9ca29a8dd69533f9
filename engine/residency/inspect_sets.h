// Sets of models.json, as `wan-infer inspect` lists them.
#pragma once

#include <filesystem>
#include <string>

#include "engine/residency/inspect.h"
#include "engine/residency/model_sets.h"

namespace wan {

/// The set's parts as networks, by the rule "set NAME"; what its folder holds besides; of a set that cannot be used, why.
/// `file` is that of the sets, for messages. Throws nothing for parts that are absent or damaged: they say so.
Inspection inspect_set(const std::string& name, const ModelSet& set, const std::filesystem::path& file);

/// The sets of a file by name, without opening what they name. Throws ModelError as read_sets.
Inspection inspect_sets(const std::filesystem::path& file);

}  // namespace wan
