#include "tools/serve/batch_worker.h"

#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "engine/base/error.h"
#include "engine/job/preflight.h"
#include "engine/request/parse.h"
#include "engine/residency/failure.h"
#include "engine/sampling/attention_record.h"
#include "kernels/op/card_name.h"
#include "models/files/folder_lock.h"
#include "tools/cli/environment.h"
#include "tools/serve/video_length.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using serve::WorkBatch;
using serve::WorkItem;

constexpr std::chrono::milliseconds kLook(200);   // between looks at signals, and at a folder that another process has
constexpr std::chrono::seconds kBetweenWords(5);  // of a folder that another process has

bool is_lost(const std::exception_ptr& failure) {
  if (!failure) return false;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return is_device_lost(error);
  } catch (...) {
    return false;
  }
}

}  // namespace

BatchWorker::BatchWorker(std::string device, LineWriter& out)
    : contexts_(options_of_environment(), attention_file(attention_cache_path())),
      placement_(resolve(std::move(device), contexts_)),
      expander_key_(expander_key()),
      out_(out),
      log_{[this](std::string_view event, const Log::Fields& fields) { take_event(event, fields); }},
      networks_(log_) {}

Placement BatchWorker::resolve(std::string device, Contexts& contexts) {
  Request request;
  request.device = std::move(device);
  request.noise_device = request.dtype = "auto";
  Placement placement = resolve_placement(request, &contexts);
  placement.budget = nullptr;  // each job has its own
  return placement;
}

int BatchWorker::run() {
  std::jthread reader([this](const std::stop_token& end) { read(end); });
  const std::string card = placement_.device.is_cuda() ? kernels::cuda::card_name(placement_.device) : "";
  out_.send({{"is", "ready"}, {"device", card.empty() ? placement_.device.str() : card}, {"pid", int64_t(getpid())}});
  while (!is_asked_to_stop()) {
    const std::optional<WorkBatch> batch = next_batch();
    const int code = batch ? render(*batch) : kGoesOn;
    if (code != kGoesOn) return code;
  }
  return 0;
}

std::optional<WorkBatch> BatchWorker::next_batch() {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, kLook, [&] { return stop_ || unload_ || !batches_.empty(); });
  if (is_to_stop()) return std::nullopt;
  if (std::exchange(unload_, false)) {
    lock.unlock();
    networks_.drop();
    tell_memory();
    return std::nullopt;
  }
  if (batches_.empty()) return std::nullopt;
  WorkBatch batch = std::move(batches_.front());
  batches_.pop_front();
  tasks_.clear();
  current_ = nullptr;
  for (WorkItem& item : batch.jobs) {
    Assignment& task = tasks_.emplace_back();
    task.item = std::move(item);
    // One that was cancelled before its batch was taken up may have been told as such already.
    task.ended = task.item.withdrawn || std::erase(cancelled_early_, task.item.id) > 0;
    if (task.ended && !task.item.withdrawn) tell_failed(task, std::make_exception_ptr(Withdrawn()));
  }
  cancelled_early_.clear();
  return batch;
}

int BatchWorker::render(const WorkBatch& batch) {
  std::vector<JobRequest> jobs;
  for (size_t i = 0; i < tasks_.size(); ++i)
    if (std::optional<Request> request = request_of(tasks_[i]))
      jobs.push_back({.line = int64_t(i) + 1,
                      .request = std::move(*request),
                      .name = fs::path(tasks_[i].item.out).filename(),
                      .output = {.preview = tasks_[i].item.preview},
                      .id = tasks_[i].item.id});
  const int code = jobs.empty() ? kGoesOn : render(batch, jobs);
  {
    const std::lock_guard lock(mutex_);
    current_ = nullptr;
  }
  if (code != kGoesOn) return code;
  tell_memory();
  out_.send({{"is", "batch"}, {"batch", batch.id}, {"resident", networks_.keeps_transformers()}});
  return kGoesOn;
}

int BatchWorker::render(const WorkBatch& batch, const std::vector<JobRequest>& jobs) {
  bool lost = false;
  try {
    if (!wait_for_folder(batch)) return is_asked_to_stop() ? 0 : kGoesOn;
    WorkFolder folder(batch.folder, WorkFolder::draw_number(batch.folder), "work", WorkFolder::Broken::BeginAnew);
    const RunResult result = run_jobs(jobs, folder, options(), log_, *this);
    for (const auto& [phase, seconds] : result.phase_seconds) stage_seconds_[phase] += seconds;
    if (result.cancelled) return 0;
    for (const JobResult& job : result.jobs) lost = lost || is_lost(job.failure);
  } catch (const std::exception&) {  // of the folder: no job is the reason, and each is told
    const std::lock_guard lock(mutex_);
    for (Assignment& task : tasks_)
      if (!std::exchange(task.ended, true)) tell_failed(task, std::current_exception());
  }
  return lost ? kDeviceLost : kGoesOn;
}

RunOptions BatchWorker::options() {
  // A file that is there already is an earlier attempt's, of which the folder had no time to note that it is finished.
  RunOptions options{.overwrite = true, .contexts = &contexts_};
  options.networks = &networks_;
  options.expander_key = expander_key_;
  options.keep_first = false;  // a job has one file
  options.previews = preview_cache_path();
  options.on_preview = [this](const Job& job) {
    const std::lock_guard lock(mutex_);
    if (Assignment& task = task_of(job.result); !task.ended) out_.send({{"is", "preview"}, {"job", task.item.id}});
  };
  options.on_job = [this](const JobResult& job) { take_turn(job); };
  options.on_end = [this](const JobResult& job) { take_end(job); };
  return options;
}

std::optional<Request> BatchWorker::request_of(Assignment& task) {
  const std::lock_guard lock(mutex_);
  if (task.ended) return std::nullopt;
  try {
    json fields = task.item.fields;
    if (!fields.is_object()) throw InvalidRequest("fields", "must be an object");
    fields["out"] = task.item.out;
    fields["device"] = placement_.device.str();
    return parse(fields);
  } catch (const std::exception&) {
    task.ended = true;
    tell_failed(task, std::current_exception());
    return std::nullopt;
  }
}

bool BatchWorker::wait_for_folder(const WorkBatch& batch) {
  Clock::time_point told{};
  std::error_code absent;
  while (fs::exists(batch.folder, absent) && !FolderLock(batch.folder).held()) {
    if (is_asked_to_stop() || !has_work()) return false;
    if (Clock::now() - told >= kBetweenWords) {
      out_.send({{"is", "held"}, {"batch", batch.id}});
      told = Clock::now();
    }
    std::this_thread::sleep_for(kLook / 4);
  }
  return has_work();
}

bool BatchWorker::is_asked_to_stop() {
  const std::lock_guard lock(mutex_);
  return is_to_stop();
}

bool BatchWorker::has_work() {
  const std::lock_guard lock(mutex_);
  return std::any_of(tasks_.begin(), tasks_.end(), [](const Assignment& task) { return !task.ended; });
}

void BatchWorker::take_turn(const JobResult& job) {
  const std::lock_guard lock(mutex_);
  Assignment& task = task_of(job);
  if (task.cancelled || task.ended) throw Withdrawn();
  if (current_ != &task) out_.send({{"is", "turn"}, {"job", task.item.id}});
  current_ = &task;
  // Jobs of a batch are all prepared first: each begins with what comes after that, one alone at once.
  if (++task.turns >= 2 || tasks_.size() == 1) begin(task);
}

void BatchWorker::take_end(const JobResult& job) {
  const double video_seconds = job.state == JobState::Failed ? 0 : video_seconds_of(job.request.out);
  const std::lock_guard lock(mutex_);
  Assignment& task = task_of(job);
  if (std::exchange(task.ended, true)) return;
  if (job.state == JobState::Failed) return tell_failed(task, job.failure);
  begin(task);
  std::error_code unknown;
  const uint64_t bytes = fs::file_size(job.request.out, unknown);
  json done = {{"is", "done"},
               {"job", task.item.id},
               {"seed", job.request.seed},
               {"prompt", job.expanded_prompt.empty() ? job.request.prompt : job.expanded_prompt},
               {"seconds", job.state == JobState::Kept ? 0 : job.seconds},
               {"bytes", unknown ? 0 : bytes},
               {"video_seconds", video_seconds}};
  if (job.safety.is_there()) done["safety"] = to_json(job.safety);
  out_.send(done);
}

}  // namespace wan
