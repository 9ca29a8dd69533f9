// A worker's process from its start to its end, and what it says.
#include "engine/serve/net/asio.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "engine/serve/queue/times.h"
#include "engine/serve/work/dispatcher_state.h"
#include "engine/serve/work/job_error.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kLastLines = 100;
constexpr int64_t kMostDeathsOfMade = 4;  // of workers under a job whose video is there

/// Of a number that is no such thing, or absent, `absent`.
int64_t whole(const json& message, const char* name, int64_t absent = 0) {
  const auto found = message.find(name);
  return found != message.end() && found->is_number_integer() ? found->get<int64_t>() : absent;
}

std::optional<double> number(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

/// `how`: "signal 9 (Killed)".
JobError died_error(int64_t times, const std::string& how) {
  return {.status = 503,
          .type = "runner_disconnected",
          .detail = "The process that rendered this job ended " +
                    (times == 2 ? "twice" : std::to_string(times) + " times") + " while it worked on it: " + how};
}

/// What a process that is gone left of a video that is not to be: all of it, or the part that it had written.
void remove_video(const std::filesystem::path& video) {
  std::error_code ignored;
  std::filesystem::remove(video, ignored);
  std::filesystem::remove(video.string() + ".part", ignored);
}

/// The last lines that the process wrote, for people.
std::string last_words(const Worker& worker, size_t most) {
  std::string text;
  const size_t count = std::min(most, worker.last_lines.size());
  for (size_t i = worker.last_lines.size() - count; i < worker.last_lines.size(); ++i)
    text += (text.empty() ? "" : "; ") + worker.last_lines[i];
  return text;
}

}  // namespace

void Dispatcher::State::tell(const Worker& worker, const std::string& text) const {
  if (report) report("worker " + worker.shown.device + ": " + text);
}

Awaitable<void> Dispatcher::State::live(std::shared_ptr<State> state, size_t number) {
  Worker& worker = *state->workers[number];
  while (!state->stopping) {
    std::chrono::milliseconds pause = state->times.broken;
    if (state->start(worker)) {
      const std::weak_ptr<State> weak = state;
      ChildHears hears;
      hears.line = [weak, &worker](std::string_view line) {
        if (const auto open = weak.lock(); open && !open->closed) open->hear(worker, line);
      };
      hears.error_line = [weak, &worker](std::string_view line) {
        if (const auto open = weak.lock(); open && !open->closed) open->hear_error_line(worker, line);
      };
      hears.no_line = [weak, &worker](const std::string& what) {
        if (const auto open = weak.lock(); open && !open->closed) open->end_process(worker, "it sent " + what);
      };
      const int status = co_await worker.child->run(std::move(hears));
      if (state->closed) co_return;
      pause = state->after_end(worker, status);
    }
    if (state->stopping) break;
    boost::system::error_code ignored;
    worker.timer.expires_after(pause);
    co_await worker.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

bool Dispatcher::State::start(Worker& worker) {
  ChildStart how;
  how.program = program.string();
  how.arguments = {"worker", "--device", worker.shown.device};
  how.environment = {{"OMP_WAIT_POLICY", "passive"}};  // threads that spin take the cores that others wait for
  worker.ready = worker.refused = worker.beats = false;
  worker.unloaded = true;
  worker.resident.clear();
  worker.end_reason.clear();
  worker.lost.clear();
  worker.last_lines.clear();
  worker.since = Clock::now();
  try {
    worker.child = std::make_unique<Child>(io, how);
  } catch (const std::system_error& error) {
    worker.shown.state = WorkerState::Broken;
    worker.shown.trouble = error.what();
    tell(worker, error.what());
    return false;
  }
  worker.shown.pid = worker.child->pid();
  if (worker.shown.state != WorkerState::Broken) worker.shown.state = WorkerState::Starting;
  return true;
}

void Dispatcher::State::end_process(Worker& worker, const std::string& reason) {
  if (!worker.child || worker.refused) return;
  worker.refused = true;
  worker.end_reason = reason;
  worker.child->kill();
}

std::chrono::milliseconds Dispatcher::State::after_end(Worker& worker, int status) {
  worker.child.reset();
  worker.shown.pid = 0;
  worker.shown.device_bytes = 0;
  const std::string how = !worker.lost.empty()         ? worker.lost
                          : !worker.end_reason.empty() ? worker.end_reason
                                                       : status_text(status);
  // One that ends by itself without an error was asked to, by whoever stops the machine: its state is saved. One that is
  // killed while the server stops, and not by it, died of its job: for a service whose worker had no memory left, systemd
  // stops the server.
  const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !worker.refused;
  const bool is_death = stopping ? is_killed : status != 0 || worker.refused;
  worker.death = !worker.lost.empty()         ? "its device was lost"
                 : !worker.end_reason.empty() ? worker.end_reason.substr(0, worker.end_reason.find(": "))
                                              : status_text(status);
  if (worker.batch) give_back(worker, how, is_death);
  if (stopping) return {};
  ++worker.shown.deaths;
  const std::string words = last_words(worker, 5);
  const std::string text = "it ended: " + how + (words.empty() ? "" : "; its last lines: " + words);
  tell(worker, text);
  worker.shown.trouble = text;
  if (!worker.ready) {
    worker.shown.state = WorkerState::Broken;
    return times.broken;
  }
  worker.shown.state = WorkerState::Waiting;
  worker.pause = std::clamp(worker.pause * 2, times.first_pause, times.most_pause);
  return worker.pause;
}

/// The jobs of its batch go back: the one that it worked on was, where it died, perhaps the reason.
void Dispatcher::State::give_back(Worker& worker, const std::string& how, bool is_death) {
  Batch batch = std::move(*worker.batch);
  worker.batch.reset();
  worker.left.reset();
  // The worker was killed for the sake of a job that would not end: the others had no part in it.
  const bool for_cancel = std::any_of(batch.members.begin(), batch.members.end(), [](const Member& member) {
    return !member.ended && member.give_up && Clock::now() > *member.give_up;
  });
  Member* blamed = batch.current;
  // It died before the first job: perhaps as it was given the batch, without having read of it. Not twice.
  if (!blamed && is_death) ++batch.unread;
  const bool takes_first = blamed ? blamed->ended : batch.unread > 1;
  if (takes_first) {
    const auto first =
        std::find_if(batch.members.begin(), batch.members.end(), [](const Member& member) { return !member.ended; });
    blamed = first != batch.members.end() ? &*first : nullptr;
  }
  for (Member& member : batch.members) {
    if (member.ended) continue;
    LiveJob& job = *member.job;
    if (job.cancelling || member.give_up) {
      remove_video(output_of(job.job, data));
      jobs.cancelled(member.job);
      member.ended = true;
    } else if (is_death && !for_cancel && &member == blamed) {
      jobs.log(member.job, "WARN", "the process that worked on it ended: " + worker.death);
      tell(worker, "it ended while it worked on job " + job.job.id + ": " + how);
      // A video in its place is finished, and the next worker finds it so: more deaths are no reason to lose it.
      std::error_code ignored;
      const std::filesystem::path video = output_of(job.job, data);
      if (job.job.deaths >= (std::filesystem::exists(video, ignored) ? kMostDeathsOfMade : 1)) {
        remove_video(video);
        jobs.fail(member.job, died_error(job.job.deaths + 1, worker.death));
        member.ended = true;
      } else {
        jobs.requeue(member.job, true);
      }
    } else if (job.job.status == JobStatus::Running) {
      jobs.requeue(member.job, false);
    }
    jobs.turn(member.job, false);
    if (!is_death) jobs.uninterrupted(member.job);
  }
  batch.current = nullptr;
  if (batch.has_ended()) return remove_folder(batch.folder);
  waiting.push_front(std::move(batch));
  dispatch_soon();
}

void Dispatcher::State::hear_error_line(Worker& worker, std::string_view line) {
  worker.last_lines.emplace_back(line);
  if (worker.last_lines.size() > kLastLines) worker.last_lines.pop_front();
  tell(worker, std::string(line));
}

void Dispatcher::State::hear(Worker& worker, std::string_view line) {
  if (worker.refused) return;
  worker.heard = Clock::now();
  try {
    take(worker, read_message(line));
  } catch (const std::exception& error) {  // BrokenJson, json::exception, std::invalid_argument: all of them its fault
    end_process(worker, std::string("it sent what is no message: ") + error.what());
  }
}

void Dispatcher::State::take(Worker& worker, const json& message) {
  const std::string is = message.at("is");
  if (is == "ready") {
    worker.ready = true;
    worker.shown.name = message.value("device", "");
    worker.shown.state = WorkerState::Idle;
    worker.shown.trouble.clear();
    worker.since = Clock::now();
    return dispatch_soon();
  }
  if (is == "alive") {
    worker.beats = true;
    return;
  }
  if (is == "memory") {
    worker.shown.device_bytes = uint64_t(std::max<int64_t>(whole(message, "device_bytes"), 0));
    const auto stages = message.find("stage_seconds");
    if (stages != message.end() && stages->is_object() && stages->size() < 64)
      for (const auto& [stage, seconds] : stages->items())
        if (seconds.is_number()) worker.shown.stage_seconds[stage] = seconds;
    return;
  }
  if (is == "batch") return take_batch_end(worker, message);
  if (is == "held") return take_held(worker, message);
  static const std::set<std::string> kOfJobs = {"turn", "begun", "progress", "log", "preview", "done", "failed"};
  if (!kOfJobs.contains(is)) return tell(worker, "it said '" + is.substr(0, 40) + "', which is not known");
  const std::string id = message.at("job");
  Member* member = worker.batch ? worker.batch->find(id) : nullptr;
  if (!member) return tell(worker, "it said '" + is + "' of a job that it was not given");
  worker.moved = Clock::now();
  if (!member->ended) take_of_job(worker, *member, is, message);
}

void Dispatcher::State::set_current(Worker& worker, Member& member) {
  Member* const before = std::exchange(worker.batch->current, &member);
  if (before == &member) return;
  if (before) jobs.turn(before->job, false);
  jobs.turn(member.job, true);
}

void Dispatcher::State::take_of_job(Worker& worker, Member& member, const std::string& is, const json& message) {
  LiveJob& job = *member.job;
  if (worker.shown.state == WorkerState::Held) {
    worker.shown.state = WorkerState::Working;
    worker.shown.trouble.clear();
  }
  if (is == "turn") {
    set_current(worker, member);
  } else if (is == "begun") {
    set_current(worker, member);
    jobs.running(member.job);
  } else if (is == "progress") {
    JobProgress progress;
    progress.stage = message.value("stage", "");
    progress.step = whole(message, "step");
    progress.steps = whole(message, "steps");
    progress.expert = message.value("expert", "");
    progress.seconds_left = number(message, "seconds_left");
    progress.preview = job.progress.preview;
    if (progress.seconds_left) worker.left = progress.seconds_left, worker.left_at = Clock::now();
    jobs.progress(member.job, std::move(progress));
  } else if (is == "log") {
    static const std::set<std::string> kLevels = {"STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"};
    const std::string level = message.value("level", "INFO");
    jobs.log(member.job, kLevels.contains(level) ? level : "INFO", message.value("message", ""));
  } else if (is == "preview") {
    JobProgress progress = job.progress;
    ++progress.preview;
    jobs.progress(member.job, std::move(progress));
  } else if (is == "done") {
    take_done(worker, member, message);
  } else {
    take_failed(worker, member, message);
  }
}

void Dispatcher::State::take_held(Worker& worker, const json& message) {
  if (!worker.batch || message.value("batch", "") != worker.batch->id)
    throw std::invalid_argument("the folder of a batch that it was not given");
  worker.moved = Clock::now();  // it waits, and does not hang
  if (worker.shown.state == WorkerState::Held) return;
  worker.shown.state = WorkerState::Held;
  worker.shown.trouble = "another process works in " + worker.batch->folder.string() +
                         ", a worker of an earlier server as a rule; its jobs wait until that ends";
  tell(worker, worker.shown.trouble);
}

void Dispatcher::State::take_done(Worker& worker, Member& member, const json& message) {
  LiveJob& job = *member.job;
  const fs::path file = output_of(job.job, data);
  std::error_code absent;
  const uint64_t bytes = fs::file_size(file, absent);
  if (absent) throw std::invalid_argument("a job is done, and its video is not there");
  member.ended = true;
  worker.pause = {};
  jobs.running(member.job);
  // It had ended otherwise before: the client was told so.
  if (job.job.status != JobStatus::Running) {
    fs::remove(file, absent);
    return;
  }
  JobOutput output;
  output.file = file.filename().string();
  output.bytes = bytes;
  output.seed = message.at("seed").get<uint64_t>();
  output.prompt = message.value("prompt", "");
  output.seconds = number(message, "seconds").value_or(0);
  output.video_seconds = std::max(0.0, number(message, "video_seconds").value_or(0));
  if (const auto said = message.find("safety"); said != message.end() && said->is_object()) output.safety = *said;
  if (job.job.deaths == 0) costs.add(job.job, output.seconds);
  // One that an earlier process finished has taken this one no time.
  if (output.seconds <= 0) output.seconds = double(std::max<int64_t>(now_ms() - job.job.started, 0)) / 1000;
  jobs.done(member.job, std::move(output));
}

void Dispatcher::State::take_failed(Worker& worker, Member& member, const json& message) {
  const std::string kind = message.at("kind");
  if (kind == "device") {  // its process is of no use any more: what it worked on is begun anew by the next one
    const std::string text = message.value("text", "");
    worker.lost = text.empty() ? "its device is lost" : text;
    return end_process(worker, worker.lost);
  }
  if (kind == "disk") {
    full_until = Clock::now() + times.full_disk;
    tell(worker, "the disk is full: no job is begun for " + std::to_string(times.full_disk.count() / 1000) + " s; " +
                     message.value("text", ""));
    jobs.log(member.job, "WARN", "the server's disk is full: the job waits for room");
    member.no_room = true;  // it stays in its batch, which goes back as a whole
    return;
  }
  if (kind == "cancelled") {
    jobs.cancelled(member.job);
  } else {
    const std::string text = message.value("text", "");
    JobError error = job_error(kind, read_errors(message.at("errors")), text);
    if (error.status != 422) tell(worker, "job " + member.job->job.id + " failed (" + kind + "): " + text);
    jobs.fail(member.job, std::move(error));
  }
  member.ended = true;
  worker.pause = {};
}

void Dispatcher::State::take_batch_end(Worker& worker, const json& message) {
  if (!worker.batch || message.value("batch", "") != worker.batch->id)
    throw std::invalid_argument("the end of a batch that it was not given");
  const auto left = std::find_if(worker.batch->members.begin(), worker.batch->members.end(),
                                 [](const Member& member) { return !member.ended && !member.no_room; });
  if (left != worker.batch->members.end()) {
    worker.batch->current = &*left;
    throw std::invalid_argument("the end of a batch of which a job has not ended");
  }
  worker.resident =
      message.value("resident", false) ? model_key(worker.batch->members.front().job->job) : std::string();
  worker.shown.state = WorkerState::Idle;
  worker.shown.trouble.clear();
  worker.since = Clock::now();
  give_back(worker, "", /*is_death=*/false);
  dispatch_soon();
}

}  // namespace wan::serve
