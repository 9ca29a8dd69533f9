#include "engine/job/work_files.h"

#include "engine/job/fetched.h"
#include "engine/request/files.h"

namespace wan {

namespace {

constexpr const char* kFiles = "files";

std::set<std::string> noted_files(const nlohmann::json* note) {
  return note ? note->value(kFiles, std::set<std::string>()) : std::set<std::string>();
}

}  // namespace

void WorkFiles::recall(BatchJob& job) const {
  job.files = noted_files(journal_.find(job.key));
}

void WorkFiles::settle(BatchJob& job) const {
  const Request& request = job.request;
  auto add = [&](const std::filesystem::path& path) { job.files.insert(path.filename().string()); };
  if (request.task == Task::S2V) {
    add(clips(job));
  } else {
    add(latents(job));
    add(sampling(job));
    for (const std::string& name : {job.positive, job.negative, job.input})
      if (!name.empty()) add(encoding(name));
    for (const std::string& input : {request.image_url, request.last_image_url, request.video_url})
      if (is_url(input)) add(copy_path(copies(), input));
    job.video = is_url(request.video_url) ? copy_path(copies(), request.video_url) : request.video_url;
  }
  job.prepared = true;
}

void WorkFiles::note(const BatchJob& job) {
  if (job.prepared && noted_files(journal_.find(job.key)) != job.files) journal_.note(job.key, {{kFiles, job.files}});
}

void WorkFiles::count(const std::list<BatchJob>& jobs) {
  for (const BatchJob& job : jobs) {
    if (job.finished) continue;
    if (!job.prepared) return;
    for (const std::string& file : job.files) ++needed_[file];
  }
  all_known_ = true;
  for (const BatchJob& job : jobs)
    if (job.finished) remove_unneeded(job);
}

void WorkFiles::drop(const BatchJob& job) {
  for (const std::string& file : job.files)
    if (auto found = needed_.find(file); found != needed_.end() && --found->second == 0) needed_.erase(found);
  remove_unneeded(job);
}

void WorkFiles::remove_unneeded(const BatchJob& job) const {
  if (!all_known_) return;
  for (const std::string& file : job.files)
    if (!needed_.count(file)) journal_.remove(file);
}

}  // namespace wan
