// Lists of SHA-256 checksums, in the forms in which models are published.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace wan {

/// Checksums by the names that lists give, relative to a folder.
struct Checksums {
  struct Entry {
    std::string sha256;  // lower case
    std::string list;    // that names it
    size_t line;         // there, from 1; 0: the list has no lines
  };
  std::map<std::string, Entry> entries;
  std::vector<std::string> lists;  // that were read
};

/// A list that a user names: lines `HEX  NAME` or `SHA256 (NAME) = HEX`, or one HEX in NAME.sha256. Names are relative
/// to the folder whose files are compared. Empty lines and those that begin with # do not count, as for sha256sum -c.
/// Throws ModelError where it has no such line, has another one, or two sums for a name.
Checksums read_checksums(const std::filesystem::path& list);

/// What lies in a folder among its `files` (relative to it), in `.cache/huggingface` and in the names of linked blobs.
/// Throws ModelError where a list is wrong, as above, and where two lists have two sums for a name.
Checksums find_checksums(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files);

/// Whether a file's name is that of a list.
bool is_checksum_list(const std::filesystem::path& file);

}  // namespace wan
