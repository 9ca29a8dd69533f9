// A file that appears whole or not at all: written under another name beside its place, then renamed.
#pragma once

#include <string>

namespace wan {

/// `path` + ".part" while it is written, with the process's number in it where another run writes that one. Without
/// commit() the part is removed at the end of the scope.
class PartFile {
 public:
  /// Creates the part; what an ended run left in it is for the writer to overwrite. Throws std::runtime_error with path
  /// and errno text where that is impossible.
  explicit PartFile(std::string path);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const std::string& part() const { return part_; }
  /// To the disk, then into its place, over what was there. Throws std::runtime_error with path and errno text.
  void commit();

 private:
  void claim();

  std::string path_, part_;
  int claim_ = -1;  // the part held open: its lock tells other runs that it is in use
  bool committed_ = false;
};

}  // namespace wan
