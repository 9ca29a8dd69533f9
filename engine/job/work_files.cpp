#include "engine/job/work_files.h"

#include "engine/request/files.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

constexpr const char* kFiles = "files";

std::set<std::string> noted_files(const nlohmann::json* note) {
  return note ? note->value(kFiles, std::set<std::string>()) : std::set<std::string>();
}

/// 0 where it is no file.
uint64_t size_of(const std::filesystem::path& path) {
  std::error_code absent;
  const uint64_t size = std::filesystem::file_size(path, absent);
  return absent ? 0 : size;
}

/// The names of the copies of the job's URLs.
std::set<std::string> copies_of(const Request& request) {
  std::set<std::string> names;
  for (const std::string& input :
       {request.image_url, request.last_image_url, request.video_url, request.audio_url, request.pose_video_url})
    if (is_url(input)) names.insert(copy_path("", input).string());
  return names;
}

}  // namespace

std::string WorkFiles::sound(const Job& job) const {
  const std::string& video = job.request.video_url;
  return is_url(video) ? copy_path(folder_.path(), video).string() : video;
}

void WorkFiles::recall(Job& job) const {
  const auto normal = [](const std::filesystem::path& path) {
    return std::filesystem::absolute(path).lexically_normal();
  };
  const std::string place = normal(job.request.out).lexically_relative(normal(folder_.path())).string();
  job.files = noted_files(folder_.recall(job.key, place));
}

void WorkFiles::settle(Job& job) const {
  auto add = [&](const std::filesystem::path& path) { job.files.insert(path.filename().string()); };
  if (job.request.task == Task::S2V) {
    add(clips(job));
  } else {
    add(latents(job));
    add(sampling(job));
    for (const std::string& name : {job.positive, job.negative, job.input})
      if (!name.empty()) add(encoding(name));
  }
  job.files.merge(copies_of(job.request));
  job.prepared = true;
}

void WorkFiles::drop_damaged(const Job& job, const Log& log) {
  for (const std::string& name : job.files) {
    const std::filesystem::path path = folder_.path() / name;
    if (!name.ends_with(".safetensors") || !std::filesystem::exists(path) || whole_.count(name)) continue;
    if (is_undamaged(path)) {
      whole_.insert(name);
    } else {
      log("note", {{"subject", "work"}, {"text", "the kept file " + name + " is damaged: it is made again"}});
      folder_.remove(name);
    }
  }
}

uint64_t WorkFiles::bytes(const Job& job) const {
  uint64_t sum = 0;
  for (const std::string& name : job.files) {
    const std::filesystem::path path = folder_.path() / name;
    std::error_code absent;
    if (std::filesystem::is_directory(path, absent))
      for (const auto& entry : std::filesystem::directory_iterator(path, absent)) sum += size_of(entry.path());
    else
      sum += size_of(path);
  }
  return sum;
}

void WorkFiles::note(const Job& job) {
  if (job.prepared && noted_files(folder_.find(job.key)) != job.files) folder_.note(job.key, {{kFiles, job.files}});
}

void WorkFiles::count(const std::list<Job>& jobs) {
  for (const Job& job : jobs) {
    if (job.finished || job.withdrawn) continue;
    if (!job.prepared) return;
    for (const std::string& file : job.files) ++needed_[file];
  }
  all_known_ = true;
  for (const Job& job : jobs)
    if (job.finished || job.withdrawn) remove_unneeded(job);
}

void WorkFiles::count(const Job& job) {
  for (const std::string& file : job.files) ++needed_[file];
}

void WorkFiles::drop(const Job& job) {
  for (const std::string& file : job.files)
    if (auto found = needed_.find(file); found != needed_.end() && --found->second == 0) needed_.erase(found);
  remove_unneeded(job);
}

void WorkFiles::drop_copies(const Job& job) const {
  for (const std::string& name : copies_of(job.request)) folder_.remove(name);
}

void WorkFiles::remove_unneeded(const Job& job) const {
  if (!all_known_) return;
  for (const std::string& file : job.files)
    if (!needed_.count(file)) folder_.remove(file);
}

}  // namespace wan
