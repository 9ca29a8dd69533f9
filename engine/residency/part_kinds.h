// What each part of a model holds, and how it is called in its published folders.
#pragma once

#include <span>
#include <string>

#include "engine/residency/parts.h"
#include "models/recognise.h"

namespace wan {

/// What the tensors of a task's network must be.
struct PartKind {
  Model model;
  const char* words;  // "an image-to-video transformer"
};
PartKind kind_of(Network network, Task task);

/// The flag that names a file for a part: "--text-encoder".
std::string flag_of(Network network);

/// Where a layout has a part, relative to the model's folder.
struct UsualPlace {
  Network network;
  const char* path;  // of a folder or file; "." for the folder itself
};
inline constexpr const char* kOfficialLayout = "official layout";
std::span<const UsualPlace> official_places();
inline constexpr const char* kOfficialTokenizer = "google/umt5-xxl";
inline constexpr const char* kDiffusersLayout = "diffusers layout";
std::span<const UsualPlace> diffusers_places();
inline constexpr const char* kDiffusersTokenizer = "tokenizer";

/// What the official layout calls a part.
std::string official_name(Network network);

}  // namespace wan
