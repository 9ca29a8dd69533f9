#include "engine/serve/disk_watch.h"

#include <system_error>
#include <utility>

#include "engine/base/text.h"

namespace wan::serve {
namespace {

std::optional<uint64_t> free_on_disk(const std::filesystem::path& folder) {
  std::error_code failed;
  const std::filesystem::space_info space = std::filesystem::space(folder, failed);
  return failed ? std::nullopt : std::optional<uint64_t>(space.available);
}

}  // namespace

DiskWatch::DiskWatch(Pool& pool, std::filesystem::path folder, uint64_t least_free_bytes, FreeBytes free_bytes,
                     std::function<void(const std::string&)> pause, std::function<void()> resume,
                     std::function<void(const std::string&)> report)
    : pool_(pool),
      folder_(std::move(folder)),
      least_(least_free_bytes),
      ask_(free_bytes ? std::move(free_bytes) : FreeBytes(free_on_disk)),
      pause_(std::move(pause)),
      resume_(std::move(resume)),
      report_(std::move(report)) {}

Awaitable<void> DiskWatch::look() {
  const std::optional<uint64_t> free = co_await pool_.run([this] { return ask_(folder_); });
  if (!free) co_return;
  free_ = *free;
  // A tenth more is asked for before jobs begin again, or they would stop and go.
  const uint64_t least = least_ + (is_full_ ? least_ / 10 : 0);
  const bool full = *free < least;
  if (full == is_full_) co_return;
  is_full_ = full;
  if (full) {
    const std::string why = "the disk has " + gigabytes(*free) + " left, less than " + gigabytes(least_) +
                            "; jobs wait until there is room";
    report_("[disk] " + why + ", running ones go on");
    pause_(why);
  } else {
    report_("[disk] has " + gigabytes(*free) + " left; jobs begin again");
    resume_();
  }
}

}  // namespace wan::serve
