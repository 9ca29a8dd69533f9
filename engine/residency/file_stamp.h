// What tells a file at one moment from the same name at another, without reading it.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace wan {

/// As the file system describes a file. `changed` is compared as well as `modified`: it cannot be set back.
struct FileStamp {
  uint64_t device = 0, inode = 0, size = 0;  // size in bytes
  int64_t modified = 0, changed = 0;         // of the content; of the content or the entry: nanoseconds since 1970
  auto operator<=>(const FileStamp&) const = default;
};

/// A model's file as it was identified (engine/residency/identity.h).
struct SeenFile {
  std::string part;    // PartFile::part
  std::string digest;  // FileIdentity::digest
  FileStamp stamp;
};
using SeenFiles = std::map<std::filesystem::path, SeenFile>;

}  // namespace wan
