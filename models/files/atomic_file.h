// A file that appears whole or not at all: written under another name beside its place, then renamed.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace wan {

/// `path` + ".part" while it is written, with the process's number in it where another run writes that one, or something
/// lies there that is not a file of this user. Without commit() or replace() the part is removed at the end of the scope.
class AtomicFile {
 public:
  /// Creates the part, or empties what an ended run left in it. Links are not followed. Throws std::runtime_error with
  /// path and errno text where that is impossible.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// The part's path, for a library that opens it by name.
  const std::string& part() const { return part_; }
  /// Appends to the part. Throws std::runtime_error with path and errno text.
  void write(const void* data, size_t size);
  /// Another name than the constructor's for its place, in the same file system; before commit() or replace().
  void move_place(std::string path) { path_ = std::move(path); }
  /// To the disk, then into its place, over what was there; the name is on the disk, too. Throws std::runtime_error with
  /// path and errno text.
  void commit();
  /// Into its place without waiting for the disk, for what is made anew all the time: a power cut may leave it empty.
  /// Throws std::runtime_error with path and errno text.
  void replace();

 private:
  bool open_part();
  bool claim();

  std::string path_, part_;
  int file_ = -1;  // its lock tells other runs that the part is in use
  bool committed_ = false;
};

/// Makes the names in a folder survive a power cut. Does nothing where the file system cannot sync a folder.
void sync_folder(const std::string& folder);

}  // namespace wan
