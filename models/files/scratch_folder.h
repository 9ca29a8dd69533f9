// A folder for what is needed for a moment.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace wan {

/// Made in the system's folder for temporary files, and removed with all that is in it at the end of the scope. Throws
/// std::runtime_error where it cannot be made.
struct ScratchFolder {
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "wan-infer-").string() + std::string(6, 'X');
    if (!mkdtemp(name.data()))
      throw std::runtime_error(std::string("[TMPDIR] must be a folder that can be written: ") + std::strerror(errno));
    path = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::filesystem::path path;
};

}  // namespace wan
