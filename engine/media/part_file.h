// A file that appears whole or not at all: written under another name beside its place, then renamed.
#pragma once

#include <string>

namespace wan {

/// `path` + ".part" while it is written. Without commit() the part is removed at the end of the scope.
class PartFile {
 public:
  /// Creates (or empties) the part. Throws std::runtime_error with path and errno text where that is impossible.
  explicit PartFile(std::string path);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const std::string& part() const { return part_; }
  /// To the disk, then into its place, over what was there. Throws std::runtime_error with path and errno text.
  void commit();

 private:
  std::string path_, part_;
  bool committed_ = false;
};

}  // namespace wan
