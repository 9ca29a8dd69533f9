// Jobs and folders for tests of the queue.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/job.h"

namespace wan::serve {

/// An empty folder that goes with it.
class QueueFolder {
 public:
  QueueFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "wan-queue-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no folder for a test");
    path_ = name;
  }
  ~QueueFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  QueueFolder(const QueueFolder&) = delete;
  QueueFolder& operator=(const QueueFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file() const { return path_ / "jobs.sqlite"; }

 private:
  std::filesystem::path path_;
};

inline Job a_job(const std::string& owner = "anna", int64_t created = 1'700'000'000'000) {
  Job job;
  job.id = new_uuid();
  job.owner = owner;
  job.endpoint = "fal-ai/wan/v2.2-a14b/text-to-video";
  job.input = {{"prompt", "a cat"}, {"num_frames", 32}};
  job.fields = {{"task", "t2v"}, {"prompt", "a cat"}, {"num_frames", 32}, {"frames_per_second", 16}};
  job.created = job.charged = created;
  job.preview_key = "key";
  return job;
}

}  // namespace wan::serve
