#include "engine/serve/retention.h"

#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <unordered_map>

#include "engine/base/text.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDay = 24 * 3600 * 1000;       // ms
constexpr int64_t kPiece = 20;                   // jobs or uploads between two pauses
constexpr int64_t kHiddenFor = kDay + 3600'000;  // removed jobs still count in quotas of 24 hours
constexpr std::string_view kInputFolders[] = {"/uploads/", "/outputs/"};

int64_t milliseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return int64_t(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
}

/// The names of files in our folders, in every text of the JSON: of URLs and of paths.
void collect(const nlohmann::json& json, std::set<std::string>& names) {
  if (json.is_string()) {
    const std::string& text = json.get_ref<const std::string&>();
    for (const std::string_view folder : kInputFolders) {
      const size_t at = text.rfind(folder);
      if (at == text.npos) continue;
      const std::string name = text.substr(at + folder.size());
      names.insert(name.substr(0, name.find_first_of("/?#")));
    }
  } else if (json.is_structured()) {
    for (const nlohmann::json& value : json) collect(value, names);
  }
}

/// Whether a name leads out of no folder.
bool is_plain(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == name.npos;
}

std::optional<uint64_t> free_on_disk(const fs::path& folder) {
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  return failed ? std::nullopt : std::optional<uint64_t>(space.available);
}

/// A file that is there, and since when.
struct Found {
  fs::path path;
  int64_t changed = 0;  // ms since 1970
};

struct Scan {
  DiskUse use;
  std::vector<Found> old;  // changed before the time that was asked for
};

/// The bytes in a folder, and its entries that are older than `before`. A folder in it counts as one entry.
uint64_t measure(const fs::path& folder, int64_t before, std::vector<Found>& old) {
  uint64_t bytes = 0;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    struct stat status = {};
    if (lstat(at->path().c_str(), &status) != 0) continue;
    int64_t changed = int64_t(status.st_mtim.tv_sec) * 1000 + status.st_mtim.tv_nsec / 1'000'000;
    if (S_ISDIR(status.st_mode)) {
      std::error_code ignored;
      for (fs::directory_iterator inner(at->path(), ignored), last; !ignored && inner != last;
           inner.increment(ignored)) {
        struct stat part = {};
        if (lstat(inner->path().c_str(), &part) != 0) continue;
        bytes += uint64_t(part.st_size);
        changed = std::max(changed, int64_t(part.st_mtim.tv_sec) * 1000);
      }
    } else {
      bytes += uint64_t(status.st_size);
    }
    if (changed < before) old.push_back({at->path(), changed});
  }
  return bytes;
}

}  // namespace

std::vector<std::string> files_needed_by(const Job& job) {
  std::set<std::string> names;
  collect(job.input, names);
  collect(job.fields, names);
  return {names.begin(), names.end()};
}

struct Retention::State : std::enable_shared_from_this<State> {
  boost::asio::io_context& io;
  Jobs& jobs;
  Pool& pool;
  const RetentionOptions options;
  const std::function<void(const std::string&)> pause;
  const std::function<void()> resume;
  const std::function<void(const std::string&)> report;
  boost::asio::steady_timer sweep_timer, look_timer;
  const int64_t begun_wall = milliseconds(CLOCK_REALTIME), begun_boot = milliseconds(CLOCK_BOOTTIME);

  std::unordered_map<std::string, std::vector<std::string>> needed_by;  // open job to its inputs' names
  std::unordered_map<std::string, int64_t> claims;                      // such a name to how many open jobs need it
  std::set<std::string> unowned;                                        // of them the videos of jobs that were removed
  bool stopped = false, is_full = false;
  DiskUse use;
  uint64_t removed_jobs = 0, removed_uploads = 0;

  State(boost::asio::io_context& io, Jobs& jobs, Pool& pool, RetentionOptions options,
        std::function<void(const std::string&)> pause, std::function<void()> resume,
        std::function<void(const std::string&)> report)
      : io(io),
        jobs(jobs),
        pool(pool),
        options(std::move(options)),
        pause(std::move(pause)),
        resume(std::move(resume)),
        report(std::move(report)),
        sweep_timer(io),
        look_timer(io) {}

  /// Goes on evenly where somebody sets the clock.
  int64_t now() const { return begun_wall + milliseconds(CLOCK_BOOTTIME) - begun_boot; }

  void claim(const Job& job) {
    const auto [place, is_new] = needed_by.try_emplace(job.id);
    if (!is_new) return;
    place->second = files_needed_by(job);
    for (const std::string& name : place->second) ++claims[name];
  }

  void release(const std::string& job) {
    const auto found = needed_by.find(job);
    if (found == needed_by.end()) return;
    for (const std::string& name : found->second) {
      const auto claim = claims.find(name);
      if (claim == claims.end() || --claim->second > 0) continue;
      claims.erase(claim);
      if (unowned.erase(name) > 0) remove_soon({options.data / "outputs" / name});
    }
    needed_by.erase(found);
  }

  void remove_soon(std::vector<fs::path> paths) {
    boost::asio::co_spawn(
        io,
        [self = shared_from_this(), paths = std::move(paths)]() -> Awaitable<void> {
          auto work = [&paths] {
            std::error_code ignored;
            for (const fs::path& path : paths) fs::remove(path, ignored);
          };
          co_await self->pool.run(std::move(work));
        },
        boost::asio::detached);
  }

  Awaitable<void> wait(boost::asio::steady_timer& timer, std::chrono::milliseconds time) {
    timer.expires_after(time);
    boost::system::error_code cancelled;
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
  }

  Awaitable<void> repeat(boost::asio::steady_timer& timer, std::chrono::seconds every,
                         Awaitable<void> (State::*work)()) {
    for (const std::shared_ptr<State> self = shared_from_this(); !stopped;) {
      try {
        co_await (this->*work)();
      } catch (const std::exception& error) {
        report(std::string("[retention] does not get on: ") + error.what());
      }
      if (!stopped) co_await wait(timer, every);
    }
  }

  // GCC 12 destroys a closure twice that is a temporary in an expression with co_await, and so is what `if` asks there:
  // both have names here.
  Awaitable<void> sweep() {
    co_await forget_hidden();
    co_await remove_old_jobs();
    co_await remove_old_uploads();
    const int64_t keep = options.keep.count() * 1000, time = now();
    const Scan scan = co_await measure_all(keep > 0 ? time - keep - kDay : 0, time - kDay);
    use = scan.use;
    co_await remove_leftovers(scan.old);
    co_await remove_for_bytes();
  }

  Awaitable<std::vector<EndedJob>> oldest(bool hidden) {
    // Those whose videos open jobs need may come first.
    std::function<std::vector<EndedJob>(Store&)> question =
        [hidden, most = kPiece + int64_t(claims.size())](Store& store) { return store.oldest_ended(most, hidden); };
    std::vector<EndedJob> all = co_await jobs.ask<std::vector<EndedJob>>(std::move(question));
    std::erase_if(all, [&](const EndedJob& job) { return claims.contains(job.file); });
    if (int64_t(all.size()) > kPiece) all.resize(size_t(kPiece));
    co_return all;
  }

  Awaitable<std::vector<PutUpload>> oldest_uploads(int64_t before) {
    // Those that open jobs need may come first.
    std::function<std::vector<PutUpload>(Store&)> question =
        [before, most = kPiece + int64_t(claims.size())](Store& store) { return store.uploads_before(before, most); };
    std::vector<PutUpload> all = co_await jobs.ask<std::vector<PutUpload>>(std::move(question));
    std::erase_if(all, [&](const PutUpload& upload) { return claims.contains(upload.file); });
    if (int64_t(all.size()) > kPiece) all.resize(size_t(kPiece));
    co_return all;
  }

  /// The records of jobs whose files are gone.
  Awaitable<void> forget_hidden() {
    while (!stopped) {
      std::vector<Change> changes;
      const std::vector<EndedJob> all = co_await oldest(true);
      for (const EndedJob& job : all)
        if (job.ended < now() - kHiddenFor) changes.push_back(RemoveJob{job.id});
      if (changes.empty()) co_return;
      co_await jobs.write(std::move(changes));
    }
  }

  Awaitable<void> remove_job(std::string id) {
    std::optional<std::string> everybody;
    const bool removed = co_await jobs.remove(std::move(id), std::move(everybody));
    if (removed) ++removed_jobs;
  }

  Awaitable<void> remove_old_jobs() {
    if (options.keep.count() == 0) co_return;
    while (!stopped) {
      const std::vector<EndedJob> all = co_await oldest(false);
      bool removed = false;
      for (const EndedJob& job : all) {
        if (job.ended >= now() - options.keep.count() * 1000) co_return;
        const uint64_t before = removed_jobs;
        co_await remove_job(job.id);
        removed = removed || removed_jobs > before;
      }
      if (!removed) co_return;
    }
  }

  Awaitable<void> remove_upload(std::string name) {
    if (claims.contains(name) || !is_plain(name)) co_return;
    std::vector<Change> changes(1, RemoveUpload{name});
    const fs::path path = options.data / "uploads" / name;
    // The record goes first: a job that names the upload is refused from then on.
    co_await jobs.write(std::move(changes));
    auto work = [&path] {
      std::error_code ignored;
      fs::remove(path, ignored);
    };
    co_await pool.run(std::move(work));
    ++removed_uploads;
  }

  Awaitable<void> remove_old_uploads() {
    if (options.keep.count() == 0) co_return;
    while (!stopped) {
      const std::vector<PutUpload> all = co_await oldest_uploads(now() - options.keep.count() * 1000);
      if (all.empty()) co_return;
      for (const PutUpload& upload : all) co_await remove_upload(upload.file);
    }
  }

  Awaitable<Scan> measure_all(int64_t before, int64_t parts_before) {
    auto work = [&data = options.data, before, parts_before] {
      Scan scan;
      scan.use.outputs = measure(data / "outputs", before, scan.old);
      scan.use.previews = measure(data / "previews", before, scan.old);
      scan.use.uploads = measure(data / "uploads", before, scan.old);
      scan.use.parts = measure(data / "parts", parts_before, scan.old);
      return scan;
    };
    co_return co_await pool.run(std::move(work));
  }

  /// What no job and no upload knows any more: of uploads that were broken off, or of a process that was killed. A file
  /// that is younger than an open job may be its video, which an earlier process has not taken note of.
  Awaitable<void> remove_leftovers(std::vector<Found> old) {
    int64_t oldest_open = now();
    for (const JobPtr& job : jobs.unfinished()) oldest_open = std::min(oldest_open, job->job.created);
    std::erase_if(old, [&](const Found& found) {
      return found.changed >= oldest_open || claims.contains(found.path.filename().string());
    });
    if (old.empty()) co_return;
    auto work = [&old] {
      std::error_code ignored;
      for (const Found& found : old) fs::remove_all(found.path, ignored);
    };
    co_await pool.run(std::move(work));
  }

  Awaitable<void> remove_for_bytes() {
    if (options.keep_bytes == 0) co_return;
    uint64_t total = use.outputs + use.previews + use.uploads;
    const int64_t young = now() - options.youngest.count() * 1000;
    while (!stopped && total > options.keep_bytes) {
      const std::vector<EndedJob> ended = co_await oldest(false);
      const std::vector<PutUpload> uploads = co_await oldest_uploads(young);
      size_t job = 0, upload = 0, removed = 0;
      while (total > options.keep_bytes) {
        const bool has_job = job < ended.size() && ended[job].ended < young, has_upload = upload < uploads.size();
        if (!has_job && !has_upload) break;
        const uint64_t before = removed_jobs + removed_uploads;
        uint64_t bytes = 0;
        if (has_job && (!has_upload || ended[job].ended <= uploads[upload].created)) {
          bytes = ended[job].bytes;
          co_await remove_job(ended[job++].id);
        } else {
          bytes = uploads[upload].bytes;
          co_await remove_upload(uploads[upload++].file);
        }
        if (removed_jobs + removed_uploads == before) continue;
        total -= std::min(total, bytes);
        ++removed;
      }
      if (removed == 0) co_return;
    }
  }

  Awaitable<void> look_at_disk() {
    const std::optional<uint64_t> free = co_await pool.run(
        [this] { return options.free_bytes ? options.free_bytes(options.data) : free_on_disk(options.data); });
    if (!free || stopped) co_return;
    use.free = *free;
    // A tenth more is asked for before jobs begin again, or they would stop and go.
    const uint64_t least = options.least_free_bytes + (is_full ? options.least_free_bytes / 10 : 0);
    const bool full = *free < least;
    if (full == is_full) co_return;
    is_full = full;
    if (full) {
      const std::string why = "the disk has " + gigabytes(*free) + " left, less than " +
                              gigabytes(options.least_free_bytes) + "; jobs wait until there is room";
      report("[disk] " + why + ", running ones go on");
      pause(why);
    } else {
      report("[disk] has " + gigabytes(*free) + " left; jobs begin again");
      resume();
    }
  }
};

Retention::Retention(boost::asio::io_context& io, Jobs& jobs, Pool& pool, RetentionOptions options,
                     std::function<void(const std::string&)> pause, std::function<void()> resume,
                     std::function<void(const std::string&)> report)
    : state_(std::make_shared<State>(io, jobs, pool, std::move(options), std::move(pause), std::move(resume),
                                     std::move(report))) {}

Retention::~Retention() {
  stop();
}

void Retention::start() {
  for (const JobPtr& job : state_->jobs.unfinished()) state_->claim(job->job);
  const auto run = [&](boost::asio::steady_timer& timer, std::chrono::seconds every, Awaitable<void> (State::*work)()) {
    boost::asio::co_spawn(
        state_->io, [state = state_, &timer, every, work] { return state->repeat(timer, every, work); },
        boost::asio::detached);
  };
  run(state_->look_timer, state_->options.look_every, &State::look_at_disk);
  run(state_->sweep_timer, state_->options.every, &State::sweep);
}

void Retention::stop() {
  state_->stopped = true;
  state_->sweep_timer.cancel();
  state_->look_timer.cancel();
}

void Retention::submitted(const JobPtr& job) {
  state_->claim(job->job);
}

void Retention::ended(const JobPtr& job) {
  state_->release(job->job.id);
}

void Retention::remove_files(const Job& job) {
  const fs::path& data = state_->options.data;
  std::vector<fs::path> paths;
  if (is_plain(job.preview_key)) paths.push_back(data / "previews" / (job.preview_key + ".jpg"));
  if (job.output && is_plain(job.output->file)) {
    if (state_->claims.contains(job.output->file))
      state_->unowned.insert(job.output->file);
    else
      paths.push_back(data / "outputs" / job.output->file);
  }
  state_->remove_soon(std::move(paths));
}

Awaitable<void> Retention::sweep() {
  return state_->sweep();
}

Awaitable<void> Retention::look_at_disk() {
  return state_->look_at_disk();
}

const DiskUse& Retention::use() const {
  return state_->use;
}

uint64_t Retention::removed_jobs() const {
  return state_->removed_jobs;
}

uint64_t Retention::removed_uploads() const {
  return state_->removed_uploads;
}

}  // namespace wan::serve
