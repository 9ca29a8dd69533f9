#include "engine/serve/leftovers.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "engine/serve/api/upload_parts.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostAtOnce = 200;

int64_t changed_at(const struct stat& status) {
  return int64_t(status.st_mtim.tv_sec) * 1000 + status.st_mtim.tv_nsec / 1'000'000;
}

/// The bytes in a folder, and its entries that were changed before a time.
uint64_t measure(const fs::path& folder, int64_t before, std::vector<Found>& old) {
  uint64_t bytes = 0;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    struct stat status = {};
    if (lstat(at->path().c_str(), &status) != 0) continue;
    int64_t changed = changed_at(status);
    if (S_ISDIR(status.st_mode)) {
      std::error_code ignored;
      for (fs::directory_iterator inner(at->path(), ignored), last; !ignored && inner != last;
           inner.increment(ignored)) {
        struct stat part = {};
        if (lstat(inner->path().c_str(), &part) != 0) continue;
        bytes += uint64_t(part.st_size);
        changed = std::max(changed, changed_at(part));
      }
    } else {
      bytes += uint64_t(status.st_size);
    }
    if (changed < before) old.push_back({at->path(), changed});
  }
  return bytes;
}

bool is_known(Store& store, const fs::path& file) {
  const std::string folder = file.parent_path().filename().string();
  if (folder == "uploads") return store.find_upload(file.filename().string()).has_value();
  return store.knows_file(folder == "previews" ? file.stem().string() : file.filename().string());
}

/// The parts that an unfinished upload has on the disk.
struct PartsFolder {
  std::string name, owner;
  uint64_t bytes = 0;
};

std::vector<PartsFolder> parts_folders(const fs::path& data) {
  std::vector<PartsFolder> all;
  std::error_code failed;
  for (fs::directory_iterator at(data / "parts", failed), end; !failed && at != end; at.increment(failed)) {
    const UploadParts parts(at->path());
    if (const std::optional<UploadName> upload = parts.upload())
      all.push_back({at->path().filename().string(), upload->owner, parts.bytes_without(0)});
  }
  return all;
}

}  // namespace

Scan scan_data(const fs::path& data, int64_t files_before, int64_t parts_before) {
  Scan scan;
  scan.use.outputs = measure(data / "outputs", files_before, scan.files);
  scan.use.previews = measure(data / "previews", files_before, scan.files);
  scan.use.uploads = measure(data / "uploads", files_before, scan.files);
  scan.use.parts = measure(data / "parts", parts_before, scan.parts);
  return scan;
}

Awaitable<void> remove_leftovers(Jobs& jobs, Files& files, Pool& pool, Scan scan, int64_t now) {
  // A file that is younger than an open job may be its video, which an earlier process has not taken note of.
  for (const JobPtr& job : jobs.unfinished()) now = std::min(now, job->job.created);
  const auto is_needed = [&files](const Found& found) { return files.in_use().has(found.path.filename().string()); };
  std::erase_if(scan.files, [&](const Found& found) { return found.changed >= now || is_needed(found); });
  if (scan.files.size() > kMostAtOnce) scan.files.resize(kMostAtOnce);
  std::vector<Found> gone;
  if (!scan.files.empty()) {
    std::function<std::vector<Found>(Store&)> question = [old = scan.files](Store& store) {
      std::vector<Found> unknown;
      for (const Found& found : old)
        if (!is_known(store, found.path)) unknown.push_back(found);
      return unknown;
    };
    gone = co_await jobs.ask<std::vector<Found>>(std::move(question));
  }
  gone.insert(gone.end(), scan.parts.begin(), scan.parts.end());
  std::erase_if(gone, is_needed);
  for (const Found& found : gone) files.room().forget_parts(found.path.filename().string());
  if (gone.empty()) co_return;
  auto work = [&gone] {
    std::error_code ignored;
    for (const Found& found : gone) fs::remove_all(found.path, ignored);
  };
  co_await pool.run(std::move(work));
}

Awaitable<void> count_parts(Files& files, Pool& pool, fs::path data) {
  auto work = [&data] { return parts_folders(data); };
  const std::vector<PartsFolder> all = co_await pool.run(std::move(work));
  for (const PartsFolder& parts : all) files.room().set_parts(parts.name, parts.owner, parts.bytes);
}

}  // namespace wan::serve
