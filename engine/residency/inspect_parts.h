// Steps of inspect(): the sizes and the tokenizer of a network, and which of several files a part is.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/residency/inspect.h"
#include "models/recognise.h"
#include "models/weights/checkpoint.h"

namespace wan {

/// Sizes that no config.json states, read off the tensors, by the words of a config.json. Empty where they cannot be.
nlohmann::ordered_json sizes_of(const Checkpoint& checkpoint, Model model);

/// The tokenizers of a folder, at the places where find_parts looks for them. `encoders` are its text encoders.
std::vector<InspectedFile> tokenizer_files(const std::filesystem::path& root,
                                           const std::vector<std::filesystem::path>& encoders);

/// Adds a remark that is not there yet.
void add_remark(Inspection& inspection, const std::string& remark);
/// Adds a remark for each file with other networks that are not used, in the words of a render's note.
void tell_left_out(Inspection& inspection);

/// Networks of which a folder holds several, none at the place of a layout, each with its part.
using Several = std::set<std::pair<Model, std::string>>;
/// Finds them, says so in the rules of the networks, and adds a remark for each with the flag that chooses. `paths` are
/// those of the networks; a file under two names counts once. Where one lies at its place, the others are not used, and
/// those whose rule says already that they are not used do not count.
Several tell_several(const std::vector<std::filesystem::path>& paths, Inspection& inspection);

/// What the networks are good for together: "text-to-video model", or "part of a text-to-video model" where a render of
/// that task would be refused; "part of a model" where no task was told.
std::string model_kind(const Inspection& inspection, const Several& several);

}  // namespace wan
