#include "tools/serve/worker.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/job/network_pool.h"
#include "engine/job/scheduler.h"
#include "engine/request/parse.h"
#include "engine/residency/device.h"
#include "engine/residency/failure.h"
#include "engine/sampling/attention_record.h"
#include "engine/serve/work/protocol.h"
#include "kernels/op/card_name.h"
#include "models/files/folder_lock.h"
#include "tools/cli/console.h"
#include "tools/cli/environment.h"
#include "tools/cli/signals.h"
#include "tools/cli/threads.h"
#include "tools/serve/failed_message.h"
#include "tools/serve/line_pipe.h"
#include "tools/serve/user_lines.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;
using serve::WorkBatch;
using serve::WorkItem;

constexpr std::chrono::milliseconds kLook(200);            // between looks at signals
constexpr std::chrono::milliseconds kBetweenReports(200);  // of a job's progress
constexpr std::chrono::seconds kBetweenLines(10), kForFolder(30);
constexpr size_t kMostText = 4000;
constexpr int kLost = 4;

/// What is held of the device now, in bytes; 0 on the CPU.
uint64_t held_bytes(at::Device device) {
  if (!device.is_cuda()) return 0;
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return uint64_t(stats.reserved_bytes[size_t(c10::CachingAllocator::StatType::AGGREGATE)].current);
}

/// A job of the batch that is rendered.
struct Assignment {
  WorkItem item;
  bool begun = false, ended = false;
  bool cancelled = false;  // it is to end at its next step
  int64_t turns = 0;       // how often it came to its turn: first to be prepared
  // Of the last report, and of the last line about a step.
  Clock::time_point told{}, line{};
  std::optional<Stage> stage = {};
  int64_t line_step = 0;
};

class Worker : public Progress {
 public:
  Worker(std::string device, LineWriter& out)
      : contexts_(options_of_environment(), attention_file(attention_cache_path())),
        placement_(resolve(std::move(device), contexts_)),
        out_(out),
        log_{[this](std::string_view event, const Log::Fields& fields) { take_event(event, fields); }},
        networks_(log_) {}

  /// Until it is told to stop. Returns the exit code.
  int run() {
    std::jthread reader([this](const std::stop_token& end) { read(end); });
    const std::string card = placement_.device.is_cuda() ? kernels::cuda::card_name(placement_.device) : "";
    out_.send({{"is", "ready"}, {"device", card.empty() ? placement_.device.str() : card}, {"pid", int64_t(getpid())}});
    while (true) {
      WorkBatch batch;
      {
        std::unique_lock lock(mutex_);
        came_.wait_for(lock, kLook, [&] { return stop_ || unload_ || !batches_.empty(); });
        if (is_to_stop()) return 0;
        if (batches_.empty() && !unload_) continue;
        if (std::exchange(unload_, false)) {
          lock.unlock();
          networks_.drop();
          tell_memory();
          continue;
        }
        batch = std::move(batches_.front());
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
      }
      const int code = render(batch);
      if (code != kGoesOn) return code;
    }
  }

  void at(const Report& report) override {
    check();
    const std::lock_guard lock(mutex_);
    if (!current_ || current_->ended) return;
    Assignment& task = *current_;
    const auto now = Clock::now();
    const bool begins = task.stage != report.stage;
    if (begins || now - task.told >= kBetweenReports) {
      json message = {{"is", "progress"},
                      {"job", task.item.id},
                      {"stage", name(report.stage)},
                      {"step", report.step},
                      {"steps", report.steps}};
      if (!report.expert.empty()) message["expert"] = report.expert;
      if (report.batch_seconds) message["seconds_left"] = *report.batch_seconds;
      out_.send(message);
      task.told = now;
    }
    // Lines of steps are few: the first and the last of a stage, and one in 10 s or a tenth of them.
    const bool ends = report.step + 1 >= report.steps, far = (report.step - task.line_step) * 10 >= report.steps;
    task.stage = report.stage;
    const std::string text = user_text(report, begins);
    if (text.empty() || !(begins || ends || far || now - task.line >= kBetweenLines)) return;
    task.line = now;
    task.line_step = report.step;
    tell_line(task, {"INFO", text});
  }

  void check() override {
    const std::lock_guard lock(mutex_);
    if (is_to_stop()) throw Cancelled();
    if (current_ && current_->cancelled && !current_->ended) throw Withdrawn();
  }

 private:
  static constexpr int kGoesOn = -1;

  static Placement resolve(std::string device, Contexts& contexts) {
    Request request;
    request.device = std::move(device);
    request.noise_device = request.dtype = "auto";
    Placement placement = resolve_placement(request, &contexts);
    placement.budget = nullptr;  // each job has its own
    return placement;
  }

  /// The mutex is held.
  bool is_to_stop() const { return stop_ || signal_that_came() != 0 || out_.broken(); }

  // What the server says, on a thread of its own.

  void read(const std::stop_token& end) try {
    LineReader in(STDIN_FILENO);
    while (!end.stop_requested() && !in.ended())
      if (const std::optional<std::string> line = in.next(kLook)) take(serve::read_message(*line));
    stop();
  } catch (const std::exception& error) {
    std::cerr << "wan-engine worker: what came on its input is no message: " << error.what() << std::endl;
    stop();
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    came_.notify_all();
  }

  void take(const json& message) {
    const std::string what = message.at("do");
    if (what == "stop") return stop();
    const std::lock_guard lock(mutex_);
    if (what == "render")
      batches_.push_back(message.get<WorkBatch>());
    else if (what == "cancel")
      cancel(message.at("job"));
    else if (what == "unload")
      unload_ = true;
    else
      std::cerr << "wan-engine worker: '" << what << "' is not known" << std::endl;
    came_.notify_all();
  }

  /// The job that works now ends at its next step, others at once. The mutex is held.
  void cancel(const std::string& id) {
    for (Assignment& task : tasks_) {
      if (task.item.id != id || task.ended) continue;
      task.cancelled = true;
      if (&task == current_) return;
      task.ended = true;
      return tell_failed(task, std::make_exception_ptr(Withdrawn()));
    }
    for (const WorkBatch& batch : batches_)
      for (const WorkItem& item : batch.jobs)
        if (item.id == id) cancelled_early_.push_back(id);
  }

  // What is rendered, on the thread of the program.

  /// Returns the exit code, or kGoesOn.
  int render(const WorkBatch& batch) {
    std::vector<JobRequest> jobs;
    for (size_t i = 0; i < tasks_.size(); ++i)
      if (std::optional<Request> request = request_of(tasks_[i]))
        jobs.push_back({.line = int64_t(i) + 1,
                        .request = std::move(*request),
                        .name = fs::path(tasks_[i].item.out).filename(),
                        .output = {.preview = tasks_[i].item.preview},
                        .id = tasks_[i].item.id});
    bool lost = false;
    if (!jobs.empty()) try {
        if (!wait_for(batch.folder)) return is_asked_to_stop() ? 0 : 1;
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
    {
      const std::lock_guard lock(mutex_);
      current_ = nullptr;
    }
    if (lost) return kLost;
    tell_memory();
    out_.send({{"is", "batch"}, {"batch", batch.id}, {"resident", networks_.keeps_transformers()}});
    return kGoesOn;
  }

  RunOptions options() {
    // A file that is there already is an earlier attempt's, of which the folder had no time to note that it is finished.
    RunOptions options{.overwrite = true, .contexts = &contexts_};
    options.networks = &networks_;
    options.previews = preview_cache_path();
    options.on_preview = [this](const Job& job) {
      const std::lock_guard lock(mutex_);
      if (Assignment& task = task_of(job.result); !task.ended) out_.send({{"is", "preview"}, {"job", task.item.id}});
    };
    options.on_job = [this](const JobResult& job) { take_turn(job); };
    options.on_end = [this](const JobResult& job) { take_end(job); };
    return options;
  }

  /// Nothing for one that is not rendered, or is refused.
  std::optional<Request> request_of(Assignment& task) {
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

  /// A worker before this one may still be about to leave the folder. False where it does not in time, or this one is to
  /// stop.
  bool wait_for(const fs::path& folder) {
    const auto end = Clock::now() + kForFolder;
    std::error_code absent;
    while (fs::exists(folder, absent) && !FolderLock(folder).held()) {
      if (is_asked_to_stop()) return false;
      if (Clock::now() >= end) {
        std::cerr << "wan-engine worker: another process works in " << folder << std::endl;
        return false;
      }
      std::this_thread::sleep_for(kLook / 4);
    }
    return true;
  }

  bool is_asked_to_stop() {
    const std::lock_guard lock(mutex_);
    return is_to_stop();
  }

  static bool is_lost(const std::exception_ptr& failure) {
    if (!failure) return false;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      return is_device_lost(error);
    } catch (...) {
      return false;
    }
  }

  Assignment& task_of(const JobResult& job) { return tasks_.at(size_t(job.line - 1)); }

  void take_turn(const JobResult& job) {
    const std::lock_guard lock(mutex_);
    Assignment& task = task_of(job);
    if (task.cancelled || task.ended) throw Withdrawn();
    if (current_ != &task) out_.send({{"is", "turn"}, {"job", task.item.id}});
    current_ = &task;
    // Jobs of a batch are all prepared first: each begins with what comes after that, one alone at once.
    if (++task.turns >= 2 || tasks_.size() == 1) begin(task);
  }

  void begin(Assignment& task) {
    if (!std::exchange(task.begun, true)) out_.send({{"is", "begun"}, {"job", task.item.id}});
  }

  void take_end(const JobResult& job) {
    const std::lock_guard lock(mutex_);
    Assignment& task = task_of(job);
    if (std::exchange(task.ended, true)) return;
    if (job.state == JobState::Failed) return tell_failed(task, job.failure);
    begin(task);
    std::error_code unknown;
    const uint64_t bytes = fs::file_size(job.request.out, unknown);
    out_.send({{"is", "done"},
               {"job", task.item.id},
               {"seed", job.request.seed},
               {"prompt", job.request.prompt},
               {"seconds", job.state == JobState::Kept ? 0 : job.seconds},
               {"bytes", unknown ? 0 : bytes}});
  }

  // What the server is told. The mutex is held.

  void tell_failed(const Assignment& task, const std::exception_ptr& failure) {
    out_.send(failed_message(task.item.id, failure));
  }

  void tell_line(const Assignment& task, const UserLine& line) {
    if (task.ended) return;
    out_.send(
        {{"is", "log"}, {"job", task.item.id}, {"level", line.level}, {"message", line.text.substr(0, kMostText)}});
  }

  void tell_memory() {
    out_.send({{"is", "memory"}, {"device_bytes", held_bytes(placement_.device)}, {"stage_seconds", stage_seconds_}});
  }

  /// Of the line that it names, else of the job that works now; what no user need know goes to the server's log.
  void take_event(std::string_view event, const Log::Fields& fields) {
    const std::optional<UserLine> line = user_line(event, fields);
    const std::lock_guard lock(mutex_);
    Assignment* task = current_;
    const auto number = fields.find("line");
    if (number != fields.end() && number->is_number_integer()) {
      const int64_t index = number->get<int64_t>() - 1;
      if (index >= 0 && index < int64_t(tasks_.size())) task = &tasks_[size_t(index)];
    }
    if (line && task)
      tell_line(*task, *line);
    else
      std::cerr << log_line(event, fields, /*for_people=*/true) << std::endl;
  }

  Contexts contexts_;
  const Placement placement_;
  LineWriter& out_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<WorkBatch> batches_;
  std::vector<std::string> cancelled_early_;  // of batches_
  bool stop_ = false, unload_ = false;
  std::deque<Assignment> tasks_;   // of the batch that is rendered
  Assignment* current_ = nullptr;  // that works now, or is prepared

  std::map<std::string, double> stage_seconds_;
  const Log log_;
  NetworkPool networks_;
};

struct Arguments {
  std::string device = "auto";
  int64_t threads = 0;
};

Arguments read_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc || (name != "--device" && name != "--threads"))
      throw std::invalid_argument("usage: wan-engine worker --device DEVICE [--threads N]");
    if (name == "--device")
      arguments.device = argv[i + 1];
    else
      arguments.threads = std::stoll(argv[i + 1]);
  }
  return arguments;
}

/// The protocol's own way out. What anything prints to standard output from now on goes to standard error.
int take_output() {
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    throw std::runtime_error("[stdout] must be open: the server is told over it");
  return out;
}

}  // namespace

int worker_main(int argc, char** argv) {
  // What the terminal of the server sends is for the server, which then says what is to be done.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  take_signals();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto complain = [](const std::string& text) { std::cerr << "wan-engine worker: " << text << std::endl; };
  try {
    const Arguments arguments = read_arguments(argc, argv);
    LineWriter out(take_output());
    c10::InferenceMode inference;
    set_threads(arguments.threads);
    return Worker(arguments.device, out).run();
  } catch (const InvalidRequest& refused) {
    complain(refused.what());
    return 3;
  } catch (const std::invalid_argument& wrong) {  // EnvironmentError, too
    complain(wrong.what());
    return 2;
  } catch (const std::exception& error) {
    complain(text_of(error));
    return is_device_lost(error) ? kLost : 1;
  }
}

}  // namespace wan
