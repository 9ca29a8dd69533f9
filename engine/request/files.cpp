#include "engine/request/files.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/request/error.h"
#include "engine/request/wording.h"

namespace wan {

namespace fs = std::filesystem;

bool is_url(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://") || text.starts_with("data:");
}

std::string from_folder(const std::string& folder, const std::string& path) {
  return folder.empty() || fs::path(path).is_absolute() ? path : (fs::path(folder) / path).string();
}

void check_readable(const std::string& field, const std::string& path) {
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    throw InvalidRequest(field, "must be a file or an http(s) URL, and there is no file " + shown_path(path));
  if (fs::is_directory(status)) throw InvalidRequest(field, "must be a file, got the folder " + shown_path(path));
  if (access(path.c_str(), R_OK) != 0)
    throw InvalidRequest(field, "cannot be read: " + shown_path(path) + ": " + std::strerror(errno));
}

void check_writable(const std::string& field, const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw InvalidRequest(field, "must be a file, got the folder " + shown_path(path));
  fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) folder = ".";
  if (!fs::is_directory(folder, error))
    throw InvalidRequest(field, "must lie in a folder that exists, got " + shown_path(path) + "; make " +
                                    shown_path(folder.string()) + " first");
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw InvalidRequest(field, "cannot be written: " + shown_path(folder.string()) + ": " + std::strerror(errno));
}

}  // namespace wan
