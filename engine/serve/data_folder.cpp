#include "engine/serve/data_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLeastSpace = 64 << 20;  // for the database; jobs ask for more (Settings::least_free_bytes)

// What a server makes beside its database, where that is not there yet or was moved away because it was damaged; and
// what is on a disk of its own. The -wal file is not among them: SQLite would put it into a new database.
constexpr const char* kOwn[] = {"uploads", "outputs",     "previews",        "parts",           "work",
                                "clock",   "prices.json", "certificate.pem", "jobs.sqlite-shm", "lost+found"};

/// Also what a server that was killed has not put to its place.
bool is_own(std::string name) {
  if (name.starts_with(".probe-")) return true;
  if (name.ends_with(".part")) name.resize(name.size() - std::string_view(".part").size());
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

[[noreturn]] void refuse(const std::string& wrong) {
  throw InvalidRequest("data", wrong);
}

void check_content(const fs::path& folder) {
  std::error_code failed;
  if (fs::exists(folder / kDatabase, failed)) return;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (name == std::string(kDatabase) + "-wal")
      refuse("must not hold the rest of a database that is gone, got " + shown_path(folder.string()) + " with " +
             shown_path(name) + " in it; bring the database back, or move this file away, too");
    if (!is_own(name))
      refuse("must be a new folder, an empty one or that of a server, got " + shown_path(folder.string()) + " with " +
             shown_path(name) + " in it; name another folder");
  }
  if (failed) refuse("must be a folder that can be read, got " + shown_path(folder.string()) + ": " + failed.message());
}

void check_writable(const fs::path& folder) {
  const fs::path probe = folder / (".probe-" + std::to_string(getpid()));
  const int file = open(probe.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0)
    refuse("must be a folder that can be written, got " + shown_path(folder.string()) + ": " + std::strerror(errno));
  close(file);
  unlink(probe.c_str());
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  if (!failed && space.available < kLeastSpace)
    refuse("must lie on a disk with room, got " + shown_path(folder.string()) + ", whose disk has " +
           gigabytes(space.available) + " left; make room, or name a folder on another disk");
}

}  // namespace

void prepare_data_folder(const fs::path& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    refuse("must be a folder, or the name of one that can be made, got " + shown_path(folder.string()) + ": " +
           std::strerror(errno));
  struct stat status = {};
  if (stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    refuse("must be a folder, got " + shown_path(folder.string()) + ", which is none");
  if (status.st_uid != geteuid())
    refuse("must be a folder of the user who runs the server, got " + shown_path(folder.string()) + " of user " +
           std::to_string(status.st_uid) + "; chown it, or run the server as that user");
  if ((status.st_mode & 0777) != 0700)
    refuse("must be a folder that its user alone can read, got " + shown_path(folder.string()) +
           " of another mode; chmod 700 it, or name a new one");
  check_content(folder);
  check_writable(folder);
}

}  // namespace wan::serve
