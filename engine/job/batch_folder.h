// Where the work of a batch lies, and that of its shards: a folder for each in the batch's, so that many processes, on
// many machines, work beside each other.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/job/work_folder.h"
#include "engine/request/shard.h"
#include "models/files/folder_lock.h"

namespace wan {

/// "shard-3-of-8".
std::string shard_folder_name(const Shard& shard);

/// A shard's folder in a batch's work folder.
struct ShardFolder {
  Shard shard;
  std::filesystem::path path;
};
/// Those that are there, of whatever counts, in the order of their counts and numbers.
std::vector<ShardFolder> shard_folders(const std::filesystem::path& work);

/// The number that a batch with this work folder draws its seeds from: its own, else that of one of its shards, else a
/// fresh one.
uint64_t batch_draw(const std::filesystem::path& work);

/// The work folder of a batch as a whole, or of one shard of it, held as long as this lives. It knows what the other
/// folders of the same batch have: finished jobs are finished, whichever division they were rendered in, and unfinished
/// ones go on.
class BatchFolder {
 public:
  /// `draw`: batch_draw, from which the batch's jobs were read; draw() may be another where shards begin at once. Throws
  /// InvalidRequest where another process holds the folder, where a shard meets a run without shards or shards of another
  /// count, and what WorkFolder throws.
  BatchFolder(const std::filesystem::path& work, uint64_t draw, const Shard& shard);

  WorkFolder& folder() { return *folder_; }
  uint64_t draw() const { return draw_; }

 private:
  void enter_shard(const std::filesystem::path& work, const Shard& shard);

  uint64_t draw_;
  std::optional<FolderLock> beside_others_;  // of a shard, on the batch's folder: a run without shards waits for it
  std::optional<WorkFolder> folder_;
};

}  // namespace wan
