// What `wan-infer inspect` says of a safety checker, which its tensors alone do not tell.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/recognise.h"

namespace wan {

/// Whether `folder` is the folder of such a checker as it is published, or claims to be: its config.json says "vit" or
/// "clip", and weights lie beside it.
bool is_safety_folder(const std::filesystem::path& folder);
/// Whether its config.json says so, whatever lies beside it.
bool has_safety_config(const std::filesystem::path& folder);

/// Whether what was recognised is a network that safety checkers are made of.
bool is_safety_checker(const Recognised& found);

/// One line: what it tells apart and its sizes, or why it is no safety checker as it lies in `folder`.
std::vector<std::string> safety_notes(const std::filesystem::path& folder, const Recognised& found);

}  // namespace wan
