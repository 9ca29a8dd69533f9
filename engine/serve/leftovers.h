// What lies in the data folder, and what of it nobody knows any more: of uploads that were broken off, of a process
// that was killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/serve/api/files.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// What lies in the data folder and is left on its disk, in bytes, at the last look.
struct DiskUse {
  uint64_t outputs = 0, previews = 0, uploads = 0, parts = 0, free = 0;
};

/// A file or folder that is there, and when it was changed last.
struct Found {
  std::filesystem::path path;
  int64_t changed = 0;  // ms since 1970
};

struct Scan {
  DiskUse use;               // without `free`
  std::vector<Found> files;  // of outputs, previews and uploads, changed before `files_before`
  std::vector<Found> parts;  // changed before `parts_before`; of a folder the last change in it counts
};

/// Looks through the folders. Times are ms since 1970. Blocks.
Scan scan_data(const std::filesystem::path& data, int64_t files_before, int64_t parts_before);

/// Removes what nobody knows: of `scan` the files that are no video, preview or upload in the store and that no open
/// job needs, 200 at most, and the parts. `now` in ms since 1970. Throws as Jobs::ask.
Awaitable<void> remove_leftovers(Jobs& jobs, Files& files, Pool& pool, Scan scan, int64_t now);

/// Notes what the parts of unfinished uploads of an earlier process take of quotas.
Awaitable<void> count_parts(Files& files, Pool& pool, std::filesystem::path data);

}  // namespace wan::serve
