// Jobs in SQLite. open_sqlite (store.h) checks a file and makes one of these.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/serve/queue/sqlite.h"
#include "engine/serve/queue/store.h"
#include "models/files/folder_lock.h"

namespace wan::serve {

class SqliteStore : public Store {
 public:
  /// `database` has the tables of the newest version; `lock` keeps other servers out.
  SqliteStore(std::unique_ptr<FolderLock> lock, Database database);

  void apply(const std::vector<Change>& changes) override;
  std::optional<Job> find(const std::string& id) override;
  std::vector<Job> unfinished() override;
  std::vector<Job> list(const JobFilter& filter) override;
  int64_t count(const JobFilter& filter) override;
  std::vector<EndedJob> oldest_ended(int64_t most, bool hidden) override;
  std::vector<LogEntry> logs(const std::string& job) override;
  std::vector<PutHook> hooks() override;
  std::optional<PutUpload> find_upload(const std::string& file) override;
  std::vector<PutUpload> uploads_before(int64_t created, int64_t most) override;
  uint64_t upload_bytes(const std::string& owner) override;
  double video_seconds_since(const std::string& owner, int64_t charged) override;
  int64_t last_charged() override;
  std::vector<MadeVideos> made_videos(const std::optional<std::string>& owner) override;
  bool knows_file(const std::string& name) override;
  void wipe_removed() override;
  std::vector<std::string> take_troubles() override;
  void refuse_changes(const std::string& why) override { refused_ = why; }

 private:
  // Of jobs: sqlite_jobs.cpp, with all that reads them.
  void make(const PutJob& change);
  void make(const RemoveJob& change);
  Job read(const Rows& row);
  // Of the rest: sqlite_store.cpp.
  void make(const AddLogs& change);
  void make(const PutHook& change);
  void make(const RemoveHook& change);
  void make(const PutUpload& change);
  void make(const RemoveUpload& change);
  /// Prepared at its first use, and kept.
  Statement& statement(const std::string& sql);

  std::unique_ptr<FolderLock> lock_;
  Database database_;
  std::map<std::string, Statement, std::less<>> statements_;
  std::vector<std::string> troubles_;
  std::string refused_;       // why nothing is changed any more; empty: changes are made
  bool has_removed_ = false;  // since the last wipe
};

}  // namespace wan::serve
