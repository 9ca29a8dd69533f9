// The files that jobs need while they are open, and those that go with them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/serve/api/files.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// The names of files of this server, uploads and videos, that a job is rendered from.
std::vector<std::string> files_needed_by(const Job& job);

/// All members are called on the io_context's thread. A shared_ptr holds it: what it removes goes on beside.
class JobFiles : public std::enable_shared_from_this<JobFiles> {
 public:
  JobFiles(boost::asio::io_context& io, Jobs& jobs, Files& files, Pool& pool, std::filesystem::path data)
      : io_(io), jobs_(jobs), files_(files), pool_(pool), data_(std::move(data)) {}

  /// A job is open, and needs its inputs; it has ended.
  void claim(const Job& job);
  void release(const std::string& job) { needs_.erase(job); }
  /// Nobody needs a file any more; `is_orphan`: it was made for a job that there is not.
  void freed(const std::string& name, bool is_orphan);
  /// Deletes the preview, the video and the inputs that were made for a job, soon: what open jobs need, after them.
  void remove(const Job& job);
  /// Deletes an upload, its record first: a job that names it is refused from then on. False where it stays, because
  /// somebody needs it. Throws as Jobs::write.
  Awaitable<bool> remove_upload(std::string name);

 private:
  void give_up(const std::string& name);
  void remove_file(const std::string& name);
  void remove_soon(std::filesystem::path path);

  boost::asio::io_context& io_;
  Jobs& jobs_;
  Files& files_;
  Pool& pool_;
  const std::filesystem::path data_;
  std::unordered_map<std::string, std::unique_ptr<FilesInUse::Claim>> needs_;  // of open jobs
  std::set<std::string> unowned_;  // that open jobs need, and whose own job was removed
};

}  // namespace wan::serve
