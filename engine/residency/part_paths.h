// Paths of a model's parts: whether something lies there, and what it is called.
#pragma once

#include <filesystem>
#include <string>

namespace wan {

/// Whether something has that name, be it a link to nothing. False where it cannot be looked at: closed_to_us tells.
bool is_there(const std::filesystem::path& path);
/// Why `path` cannot be looked at, and the way out: "Permission denied; give yourself the right to read it ...". Empty
/// where it can, and where nothing has that name.
std::string closed_to_us(const std::filesystem::path& path);

bool is_folder(const std::filesystem::path& path);
/// Whether both lead to one file.
bool is_same(const std::filesystem::path& a, const std::filesystem::path& b);

/// "high_noise_model/" is high_noise_model.
std::filesystem::path without_slash(const std::filesystem::path& path);
/// ModelPart::name: relative to `root` where it lies in it, else the last component.
std::string name_in(const std::filesystem::path& root, const std::filesystem::path& path);

}  // namespace wan
