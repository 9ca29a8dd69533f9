#include "engine/job/batch_folder.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr const char *kBegin = "shard-", *kOf = "-of-";

/// Nothing where a folder is called otherwise.
std::optional<Shard> shard_called(const std::string& name) {
  const size_t begin = std::string(kBegin).size(), of = name.find(kOf);
  if (!name.starts_with(kBegin) || of == std::string::npos || of < begin) return std::nullopt;
  try {
    const Shard shard = read_shard(name.substr(begin, of - begin) + "/" + name.substr(of + std::string(kOf).size()));
    return shard_folder_name(shard) == name ? std::optional(shard) : std::nullopt;
  } catch (const InvalidRequest&) {
    return std::nullopt;
  }
}

}  // namespace

std::string shard_folder_name(const Shard& shard) {
  return kBegin + std::to_string(shard.index) + kOf + std::to_string(shard.count);
}

std::vector<ShardFolder> shard_folders(const fs::path& work) {
  std::vector<ShardFolder> folders;
  std::error_code failed;
  for (fs::directory_iterator entry(work, failed), end; !failed && entry != end; entry.increment(failed))
    if (const std::optional<Shard> shard = shard_called(entry->path().filename().string()))
      folders.push_back({*shard, entry->path()});
  std::sort(folders.begin(), folders.end(), [](const ShardFolder& a, const ShardFolder& b) {
    return std::pair(a.shard.count, a.shard.index) < std::pair(b.shard.count, b.shard.index);
  });
  return folders;
}

uint64_t batch_draw(const fs::path& work) {
  if (const std::optional<uint64_t> known = WorkFolder::known_draw(work)) return *known;
  for (const ShardFolder& folder : shard_folders(work))
    if (const std::optional<uint64_t> known = WorkFolder::known_draw(folder.path)) return *known;
  return WorkFolder::draw_number(work);
}

BatchFolder::BatchFolder(const fs::path& work, uint64_t draw, const Shard& shard) : draw_(draw) {
  if (shard.is_whole())
    folder_.emplace(work, draw_);
  else
    enter_shard(work, shard);
  std::vector<fs::path> others;
  if (!shard.is_whole()) others.push_back(work);
  for (const ShardFolder& other : shard_folders(work))
    if (other.shard != shard) others.push_back(other.path);
  folder_->look_into(others);
}

void BatchFolder::enter_shard(const fs::path& work, const Shard& shard) {
  draw_ = WorkFolder::agree_on_draw(work, draw_);
  beside_others_.emplace(work, FolderLock::Hold::WithOthers);
  const std::string where = shown_path(work.string());
  if (!beside_others_->held())
    throw InvalidRequest("work", "must be free, and a run without --shard works in " + where +
                                     "; wait for it, or --work names another folder");
  folder_.emplace(work / shard_folder_name(shard), draw_);
  // Shards of another count have the same jobs. Behind the own lock: of two that begin at once at least one sees the other.
  for (const ShardFolder& other : shard_folders(work))
    if (other.shard.count != shard.count && !FolderLock(other.path, FolderLock::Hold::WithOthers).held())
      throw InvalidRequest("shard", "must be one of " + std::to_string(other.shard.count) + " as long as " +
                                        other.shard.text() + " works in " + where + ", got " + shown(shard.text()) +
                                        "; wait for those, or --work names another folder");
}

}  // namespace wan
