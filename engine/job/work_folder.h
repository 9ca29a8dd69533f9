// A folder in which unfinished work outlives kill -9 and power cuts: of one job beside its output, or of a batch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/files/folder_lock.h"

namespace wan {

/// Work files, and `journal.jsonl`: a line about the journal, then one for each note, each on the disk before `note`
/// returns. What a crash leaves of a line half written is dropped. While a WorkFolder lives, the folder is locked. A new
/// folder can be read by its user alone: it holds prompts and pictures.
class WorkFolder {
 public:
  /// Where the unfinished work of a single render lies: beside its output.
  static std::filesystem::path beside(const std::filesystem::path& out);
  /// The number that a batch with this work folder draws its seeds from: the one kept there, or a fresh one.
  static uint64_t draw_number(const std::filesystem::path& folder);
  /// The same where one is kept there.
  static std::optional<uint64_t> known_draw(const std::filesystem::path& folder);
  /// The number of a folder in which several processes begin at once: that of its journal. Where it has none yet, one of
  /// them makes it, and the folder, with the number that it gave; the others take that. Throws InvalidRequest where the
  /// journal is not ours or damaged, or the folder cannot be made; std::runtime_error where the disk refuses.
  static uint64_t agree_on_draw(const std::filesystem::path& folder, uint64_t draw);
  /// The whole paths of the outputs that a folder, which may be another process's, notes as finished.
  static std::set<std::string> finished_in(const std::filesystem::path& folder);
  /// The last note under `key` of a folder that may be another process's; nothing where none can be read.
  static std::optional<nlohmann::json> peek(const std::filesystem::path& folder, const std::string& key);

  /// What to do with a journal of ours that cannot be gone on from: one that is damaged, or another version's.
  enum class Broken { Refuse, BeginAnew };

  /// Makes the folder where it is absent, keeps `draw` in a new journal, and removes what a killed process left half
  /// written. Throws InvalidRequest naming `field` where another process holds the folder, its journal is broken or
  /// another program's or belongs to another number, or the folder cannot be made; std::runtime_error where the disk
  /// refuses.
  WorkFolder(std::filesystem::path folder, uint64_t draw, std::string field = "work", Broken broken = Broken::Refuse);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;

  /// Notes an object under `key`, in place of an earlier one. Where the disk refuses, the journal is as it was.
  void note(const std::string& key, const nlohmann::json& fields);
  /// The last note under `key`; null where there is none.
  const nlohmann::json* find(const std::string& key) const;
  /// Whether a note of this folder, or of one that it looks into, is wanted.
  bool any_note(const std::function<bool(const nlohmann::json& note)>& wanted) const;

  /// Reads the journals of other folders with work on the same jobs, which other processes may hold: recall() takes over
  /// what they know. One that is absent or cannot be read tells nothing.
  void look_into(const std::vector<std::filesystem::path>& others);
  /// As find(). Where another folder knows more of the key, that is taken over first: its note, and of an unfinished job
  /// the files that it lists, with what is noted of them. What cannot be taken over is made again.
  /// `place`: where a finished job's output is to lie; empty: anywhere.
  const nlohmann::json* recall(const std::string& key, const std::string& place = "");

  const std::filesystem::path& path() const { return folder_; }
  /// The first line of the journal that a disk has damaged, from 1: it and what follows is lost. Nothing where all lines
  /// were whole; one that a crash cut off is none.
  std::optional<int64_t> damaged_line() const { return damaged_line_; }
  /// The path of a work file: 32 hexadecimal digits and a word for what it holds. Names of other forms are never
  /// touched, so that any folder can serve.
  std::filesystem::path file(const std::string& name, const std::string& ending) const;
  /// Removes the work file or folder of this name. One that is absent is no error, one that cannot be removed costs
  /// only room.
  void remove(const std::string& name) const;
  /// Whether it holds any work file.
  bool holds_work() const { return find_file("").has_value(); }
  /// Whether it holds denoising steps, latents or clips of an unfinished job.
  bool holds_steps() const;
  /// The latents of a job whose video is not finished; nothing where there are none.
  std::optional<std::filesystem::path> latents() const;
  /// Removes all work files and forgets all notes.
  void restart();
  /// Removes all work files and the journal, and the folder where nothing else is in it. It takes no notes afterwards.
  void discard();

 private:
  /// Another folder as its journal tells of it; places of outputs are seen from here.
  struct Other {
    std::filesystem::path path;
    std::map<std::string, nlohmann::json> notes;
  };

  void take_over(const std::string& key, const std::string& place, const Other& other);
  void take_file(const std::string& name, const Other& other);
  [[noreturn]] void refuse(const std::string& wrong) const;
  [[noreturn]] void refuse_journal(const nlohmann::json& first) const;
  void open_journal();
  void begin_journal(uint64_t draw);
  void load(uint64_t draw, Broken broken);
  void append(const std::string& text);
  std::optional<std::filesystem::path> find_file(const std::string& ending) const;
  template <typename Unwanted>
  void remove_where(Unwanted unwanted) const;

  std::filesystem::path folder_;
  std::string field_;
  FolderLock lock_;
  int file_ = -1;
  uint64_t size_ = 0;   // of the lines that are whole
  uint64_t first_ = 0;  // of the line about the journal
  std::map<std::string, nlohmann::json> notes_;
  std::vector<Other> others_;  // the newest first
  std::optional<int64_t> damaged_line_;
};

}  // namespace wan
