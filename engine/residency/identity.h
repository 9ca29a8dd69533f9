// Which model files a video was made from: enough to notice another checkpoint without reading its data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wan {

struct FileIdentity {
  std::string name;    // relative to the model folder, with '/'
  uint64_t size;       // of the whole file, bytes
  std::string sha256;  // of its header (header_of, models/weights/checkpoint.h), lower-case hexadecimal
};

/// Identifies `root / name`, following links. Throws ModelError where the file is absent or its header is broken.
FileIdentity identify(const std::filesystem::path& root, const std::filesystem::path& name);

}  // namespace wan
