// What a batch has achieved, on disk: it outlives kill -9 and power cuts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace wan {

/// `journal.jsonl` in a work folder: a line about the journal, then one for each note, each on the disk before `note`
/// returns. What a crash leaves of a line half written is dropped. While a Journal lives, the folder is locked.
class Journal {
 public:
  /// The number that a batch with this work folder draws its seeds from: the one kept there, or a fresh one.
  static uint64_t draw_number(const std::filesystem::path& folder);

  /// Makes the folder where it is absent, keeps `draw` in a new journal, and removes what a killed process left half
  /// written. Throws InvalidRequest where another process holds the folder, or it belongs to another number or
  /// program; std::runtime_error where the disk refuses.
  Journal(std::filesystem::path folder, uint64_t draw);
  ~Journal();
  Journal(const Journal&) = delete;

  /// Notes an object under `key`, in place of an earlier one. Where the disk refuses, the journal is as it was.
  void note(const std::string& key, const nlohmann::json& fields);
  /// The last note under `key`; null where there is none.
  const nlohmann::json* find(const std::string& key) const;

  const std::filesystem::path& folder() const { return folder_; }
  /// The path of a work file: 32 hexadecimal digits and a word for what it holds. Names of other forms are never
  /// touched, so that any folder can serve.
  std::filesystem::path file(const std::string& name, const std::string& what) const;
  /// Removes the work file or folder of this name. One that is absent is no error, one that cannot be removed costs
  /// only room.
  void remove(const std::string& name) const;

 private:
  void lock();
  void load(uint64_t draw);
  void append(const nlohmann::json& line);
  void remove_parts() const;

  std::filesystem::path folder_;
  int file_ = -1;
  uint64_t size_ = 0;  // of the lines that are whole
  std::map<std::string, nlohmann::json> notes_;
};

}  // namespace wan
