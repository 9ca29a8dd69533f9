// A large file that is written in pieces and can be gone on with: beside its place until it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace wan::convert {

/// The disk has no room for what is written. Its text says for which file.
struct DiskFull : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Bytes of the disk that a file of `size` bytes takes beside the `there` bytes that an earlier run left, which may be
/// those of a larger file.
inline uint64_t missing_bytes(uint64_t size, uint64_t there) {
  return size > there ? size - there : 0;
}

/// Throws std::runtime_error where the disk has no room for a file of `size` bytes at `out`. What an earlier run wrote
/// of it counts as free.
void check_space(const std::filesystem::path& out, uint64_t size);

/// OUT.part, and OUT.part.done: a line for each piece whose bytes are on the disk. Both stay when a run ends early, so that
/// the next one goes on; finish() renames the one and removes the other. OUT.part is locked while the object lives.
class PartFile {
 public:
  /// `key` tells one conversion from another: what an earlier run with another key left is begun anew. `size`: of the
  /// whole file. Throws std::runtime_error where the disk refuses or another run writes the file, DiskFull where there is no room;
  /// so do the other functions.
  PartFile(std::filesystem::path out, const std::string& key, uint64_t size);
  ~PartFile();
  PartFile(const PartFile&) = delete;

  /// What an earlier run noted when it finished the piece of this name; null where it did not.
  const nlohmann::json* done(const std::string& piece) const;
  void write(const void* data, size_t size, uint64_t offset);
  /// All that was written is on the disk, then the note is.
  void note(const std::string& piece, const nlohmann::json& fields);
  /// In its place.
  void finish();
  /// Removes what was written, by this run and by earlier ones. The last call.
  void discard();

 private:
  void open_locked();
  void close_all();
  void load(const std::string& key);
  void append(const std::string& line);

  std::filesystem::path out_, part_, notes_;
  int file_ = -1, notes_file_ = -1;
  std::map<std::string, nlohmann::json> done_;
};

}  // namespace wan::convert
