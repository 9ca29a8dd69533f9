// The table of a zip archive as torch writes it: records stored without compression, zip64 where it is large.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace wan {

/// What lies in an archive. The views point into the bytes it was read from.
struct ZipTable {
  std::string_view directory;                       // the central directory itself
  std::map<std::string, std::string_view> records;  // payload by name
};

/// Reads the table at the end of `archive`; checksums are not verified, that would read everything. Throws ModelError
/// about `subject` for compressed, encrypted or doubled records and for anything that lies outside its bounds.
ZipTable read_zip(std::string_view archive, const std::string& subject);

}  // namespace wan
