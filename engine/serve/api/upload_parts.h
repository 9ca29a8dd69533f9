// An upload that comes in parts, in any order and side by side: a folder in data/parts with a file for each of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/api/stored_files.h"

namespace wan::serve {

/// A part as a client lists it at the end.
struct ListedPart {
  int64_t number = 0;
  std::string tag;  // with or without its quotes
};

inline constexpr int64_t kMostParts = 10'000;

/// All of these block; errors of the disk are std::system_error.
class UploadParts {
 public:
  explicit UploadParts(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Makes the folder, and notes what is being uploaded. Nothing is left where that fails.
  void begin(const UploadName& upload) const;
  /// What is being uploaded; nothing where the folder is gone or damaged.
  std::optional<UploadName> upload() const;
  /// Bytes of all parts but number `except`.
  uint64_t bytes_without(int64_t except) const;
  /// Takes a written file as a part, in place of an earlier one of this number.
  void take(const std::filesystem::path& written, int64_t number, const std::string& tag) const;
  /// Bytes of the listed parts together; nothing where a number comes twice or a part is not there, or has another tag.
  std::optional<uint64_t> listed_bytes(const std::vector<ListedPart>& parts) const;
  /// Writes the listed parts by their numbers into a new file; returns its length. Nothing as listed_bytes(). From then
  /// on the folder takes no more: it is closed. Where it fails, the folder is as before and nothing is left of the
  /// file.
  std::optional<uint64_t> join(std::vector<ListedPart> parts, const std::filesystem::path& into) const;
  /// Where the folder lies then.
  std::filesystem::path closed() const { return folder_.string() + "-whole"; }
  /// Whether join() has closed it, and it was not removed yet.
  bool is_closed() const;
  /// After join(), where its file could not be kept: the parts are there to be joined again.
  void reopen() const;
  void remove() const;

 private:
  std::optional<std::vector<std::filesystem::path>> listed(std::vector<ListedPart> parts) const;
  std::filesystem::path folder_;
};

}  // namespace wan::serve
