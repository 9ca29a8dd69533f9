// The table of a zip archive as torch writes it: records stored without compression, zip64 where it is large.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace wan {

/// What lies in an archive. The views point into the bytes it was read from.
struct ZipTable {
  std::string_view directory;                       // the central directory itself
  std::map<std::string, std::string_view> records;  // payload by name, of those that are stored as they are
  std::set<std::string> packed;                     // names of compressed ones (code of TorchScript): never opened

  /// The payload of a record; nothing where there is none of this name. Throws ModelError about `subject` where it is
  /// compressed.
  std::optional<std::string_view> find(const std::string& name, const std::string& subject) const;
};

/// Reads the table at the end of `archive`; checksums are not verified, that would read everything. Throws ModelError
/// about `subject` for encrypted, doubled or overlapping records and for anything that lies outside its bounds.
ZipTable read_zip(std::string_view archive, const std::string& subject);

}  // namespace wan
