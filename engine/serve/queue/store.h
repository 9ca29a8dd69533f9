// Where jobs are kept for good. An interface: SQLite here, PostgreSQL where several machines share a queue.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "engine/serve/queue/job.h"

namespace wan::serve {

struct PutJob {
  Job job;
};  // new, or in place of the one with its id
struct AddLogs {
  std::string job;
  std::vector<LogEntry> entries;
};
struct RemoveJob {
  std::string job;
};  // with its logs, webhook and uploads' claims
/// A message to a webhook that has yet to be sent. `due` in ms since 1970.
struct PutHook {
  std::string job;
  int64_t tries = 0, due = 0;
};
struct RemoveHook {
  std::string job;
};
/// A file that a client uploaded or that stands for a data URL.
struct PutUpload {
  std::string file, owner, type;
  uint64_t bytes = 0;
  int64_t created = 0;
};
struct RemoveUpload {
  std::string file;
};
using Change = std::variant<PutJob, AddLogs, RemoveJob, PutHook, RemoveHook, PutUpload, RemoveUpload>;

struct JobFilter {
  std::optional<std::string> owner;   // nothing: all
  std::optional<bool> ended;          // nothing: both
  std::optional<int64_t> before;      // that arrived before the job of this sequence
  int64_t most = 50;                  // up to 10,000
  bool hidden = false;                // also those that their owner has removed
  std::optional<int64_t> after = {};  // that arrived behind the job of this sequence; not with `before`
  bool oldest_first = false;          // the order of a list
};

/// Seconds of work of earlier jobs, by what their cost follows from.
struct CostSample {
  std::string endpoint;
  double work = 0;  // steps x tokens of the video, as Forecast counts
  double seconds = 0;
};

/// Finished videos of one endpoint and resolution that were not removed.
struct MadeVideos {
  std::string endpoint, resolution;  // resolution empty: not among the job's fields
  int64_t videos = 0;
  std::optional<double> frames;  // of all of them (priced_frames, job_json.h); nothing: not known
};

/// An ended job, as what decides about its removal sees it.
struct EndedJob {
  std::string id;
  int64_t ended = 0;
  std::string file;    // of its video; empty: none
  uint64_t bytes = 0;  // of that
};

/// Why nothing can be kept at present: no room, an error of the disk, a lock that another program holds. What was asked
/// for may be asked again later.
struct StoreUnavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A change that is never taken: its job holds more text than kMostJobBytes.
struct JobTooLarge : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Of a job's input, fields, output and error, each.
inline constexpr size_t kMostJobBytes = 8 << 20;

/// Members may be called by one thread at a time. All throw std::runtime_error naming the database where it refuses.
class Store {
 public:
  virtual ~Store() = default;
  /// All of them or none; on the disk when it returns. Changes to a job that is not there do nothing. Throws
  /// StoreUnavailable, or JobTooLarge.
  virtual void apply(const std::vector<Change>& changes) = 0;

  // A job whose record cannot be read comes back as a failed one, and take_troubles() tells why. Input and fields of a
  // job that is not hidden are objects in any case.
  virtual std::optional<Job> find(const std::string& id) = 0;
  /// Oldest first.
  virtual std::vector<Job> unfinished() = 0;
  /// Newest first, unless the filter says otherwise.
  virtual std::vector<Job> list(const JobFilter& filter) = 0;
  virtual int64_t count(const JobFilter& filter) = 0;
  virtual std::vector<LogEntry> logs(const std::string& job) = 0;
  virtual std::vector<PutHook> hooks() = 0;
  virtual std::optional<PutUpload> find_upload(const std::string& file) = 0;
  virtual std::vector<PutUpload> uploads_before(int64_t created, int64_t most) = 0;
  /// Bytes of all files that an owner uploaded.
  virtual uint64_t upload_bytes(const std::string& owner) = 0;
  /// Seconds of video that an owner's jobs asked for that were charged at a time or later, for quotas.
  virtual double video_seconds_since(const std::string& owner, int64_t charged) = 0;
  /// When the newest job was charged; 0 where there is none.
  virtual int64_t last_charged() = 0;
  /// The finished videos of an owner, or of all; without reading their jobs.
  virtual std::vector<MadeVideos> made_videos(const std::optional<std::string>& owner) = 0;
  /// What could not be read since the last call: a line each, for the server's log.
  virtual std::vector<std::string> take_troubles() = 0;
  /// The database is damaged: from now on apply() throws StoreUnavailable with these words. Reading goes on.
  virtual void refuse_changes(const std::string& why) = 0;
  /// Whether a job that was not removed has a video or a preview key of this name.
  virtual bool knows_file(const std::string& name) = 0;
  /// From then on the database's files hold nothing of what was removed. Does nothing where nothing was.
  virtual void wipe_removed() = 0;
  /// Those that ended first; `hidden`: of those that were removed, else of the others.
  virtual std::vector<EndedJob> oldest_ended(int64_t most, bool hidden) = 0;
};

/// Opens or makes the database: WAL, synchronous=FULL, a version that migrates forwards. Its folder belongs to this
/// store until it goes. Takes a few milliseconds, however many jobs it has: IntegrityCheck looks for damage behind the
/// begin of its tables. Throws InvalidRequest naming "data" where it is locked by another server, read-only, damaged,
/// another program's or of a newer version.
std::unique_ptr<Store> open_sqlite(const std::filesystem::path& file);

}  // namespace wan::serve
