// What an earlier server left: its jobs go on, and one that may have ended it is found.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <set>

#include "engine/base/text.h"
#include "engine/serve/queue/times.h"
#include "engine/serve/work/dispatcher_state.h"
#include "engine/serve/work/job_error.h"
#include "engine/serve/work/saved_mark.h"

namespace wan::serve {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

/// Of a job whose turn it was each time. What a server died of, nobody can tell it: that its job gets nowhere, it can.
JobError ended_server_error() {
  return {
      .status = 503,
      .type = "runner_disconnected",
      .detail = "The server ended " + std::to_string(kMostInterruptions) +
                " times in a row while it worked on this job, and nothing more of it was saved in between: it may need "
                "more memory than the machine has; send it again with fewer frames or a lower resolution, or as it "
                "is if the server was stopped by hand"};
}

bool has_turn(const Member& member) {
  return member.job->job.turn;
}

}  // namespace

void Dispatcher::State::take_up() {
  const auto now = Clock::now();
  const int64_t wall = now_ms();
  for (const JobPtr& job : jobs.unfinished()) {  // in the order of their arrival, and so are their batches
    deadlines.add_earlier(job, now, wall);
    if (job->job.batch.empty()) continue;
    if (job->job.status == JobStatus::Running) jobs.requeue(job, false);
    auto batch =
        std::find_if(waiting.begin(), waiting.end(), [&](const Batch& known) { return known.id == job->job.batch; });
    if (batch == waiting.end()) {
      const fs::path folder = data / "work" / job->job.batch;
      batch = waiting.insert(waiting.end(), Batch{.id = job->job.batch, .folder = folder, .members = {}});
    }
    batch->members.push_back({.job = job, .give_up = {}});
  }
  for (Batch& batch : waiting)
    if (std::any_of(batch.members.begin(), batch.members.end(), has_turn)) examine(batch);
}

void Dispatcher::State::remove_old_folders() {
  std::set<std::string> kept;
  for (const Batch& batch : waiting) kept.insert(batch.id);
  // The list is made before any job begins: a folder that appears later is not looked at.
  std::error_code failed;
  for (fs::directory_iterator entry(data / "work", failed), end; !failed && entry != end; entry.increment(failed))
    if (!kept.contains(entry->path().filename().string())) remove_folder(entry->path());
}

void Dispatcher::State::examine(Batch& batch) {
  batch.is_examined = false;
  asio::post(disk, [weak = weak_from_this(), &io = io, id = batch.id, folder = batch.folder] {
    const std::string saved = saved_mark(folder);
    asio::post(io, [weak, id, saved] {
      if (const auto state = weak.lock(); state && !state->closed) state->judge(id, saved);
    });
  });
}

void Dispatcher::State::judge(const std::string& id, const std::string& saved) {
  const auto batch = std::find_if(waiting.begin(), waiting.end(), [&](const Batch& known) { return known.id == id; });
  if (batch == waiting.end()) return;
  batch->is_examined = true;
  for (Member& member : batch->members) {
    if (member.ended || !has_turn(member)) continue;
    const Job& job = member.job->job;
    jobs.interrupted(member.job, saved);
    if (job.interruptions == 0) continue;  // it has ended meanwhile
    if (report)
      report("[work] the server before this one ended without its word while it worked on job " + job.id + ": " +
             std::to_string(job.interruptions) + " of " + std::to_string(kMostInterruptions) +
             " such ends in a row without more of it being saved");
    if (job.interruptions >= kMostInterruptions) {
      jobs.fail(member.job, ended_server_error());
      member.ended = true;
    } else if (job.interruptions + 1 >= kMostInterruptions) {
      jobs.log(
          member.job, "WARN",
          "the server ended " + std::to_string(job.interruptions) +
              " times while it worked on this job, and nothing more was saved in between: it is begun once more, not "
              "within " +
              duration(std::chrono::duration<double>(times.suspects).count()) + " of the server's start");
    }
  }
  dispatch_soon();
}

std::deque<Batch>::iterator Dispatcher::State::next_waiting() {
  const bool is_tried = std::any_of(workers.begin(), workers.end(),
                                    [](const auto& worker) { return worker->batch && worker->batch->is_suspect(); });
  const bool takes_suspects = !is_tried && Clock::now() - begun >= times.suspects;
  return std::find_if(waiting.begin(), waiting.end(),
                      [&](const Batch& batch) { return batch.is_examined && (takes_suspects || !batch.is_suspect()); });
}

}  // namespace wan::serve
