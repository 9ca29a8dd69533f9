#include "engine/residency/part_paths.h"

#include <system_error>

namespace wan {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string closed_to_us(const fs::path& path) {
  std::error_code error;
  const fs::file_type type = fs::symlink_status(path, error).type();
  if (type != fs::file_type::none || !error) return "";
  const bool closed = error == std::errc::permission_denied;
  return error.message() + (closed ? "; give yourself the right to read it, and to enter its folder (chmod u+rX)"
                                   : "; name another path");
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

std::string name_in(const fs::path& root, const fs::path& path) {
  const fs::path whole = fs::absolute(without_slash(path)).lexically_normal();
  const fs::path inside =
      root.empty() ? fs::path() : whole.lexically_relative(fs::absolute(root / "").lexically_normal().parent_path());
  return inside.empty() || *inside.begin() == ".." ? whole.filename().string() : inside.generic_string();
}

}  // namespace wan
