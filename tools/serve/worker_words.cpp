// What the server says to its worker, and what it is told.
#include <c10/core/CachingDeviceAllocator.h>
#include <unistd.h>

#include <iostream>
#include <stdexcept>
#include <utility>

#include "engine/base/error.h"
#include "engine/job/preflight.h"
#include "tools/cli/console.h"
#include "tools/cli/signals.h"
#include "tools/serve/batch_worker.h"
#include "tools/serve/failed_message.h"

namespace wan {
namespace {

using nlohmann::json;
using serve::WorkBatch;
using serve::WorkItem;

constexpr std::chrono::milliseconds kLook(200);            // between looks at whether it is to stop
constexpr std::chrono::milliseconds kBetweenReports(200);  // of a job's progress
constexpr std::chrono::seconds kBetweenLines(10), kBeat(5);
constexpr size_t kMostText = 4000;

/// What is held of the device now, in bytes; 0 on the CPU.
uint64_t held_bytes(at::Device device) {
  if (!device.is_cuda()) return 0;
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return uint64_t(stats.reserved_bytes[size_t(c10::CachingAllocator::StatType::AGGREGATE)].current);
}

}  // namespace

void BatchWorker::at(const Report& report) {
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

void BatchWorker::check() {
  const std::lock_guard lock(mutex_);
  if (is_to_stop()) throw Cancelled();
  if (current_ && current_->cancelled && !current_->ended) throw Withdrawn();
}

bool BatchWorker::is_to_stop() const {
  return stop_ || signal_that_came() != 0 || out_.broken();
}

void BatchWorker::read(const std::stop_token& end) try {
  LineReader in(STDIN_FILENO);
  Clock::time_point beat{};
  while (!end.stop_requested() && !in.ended()) {
    // From here: steps may take long, and this thread computes nothing.
    if (Clock::now() - beat >= kBeat) out_.send({{"is", "alive"}}), beat = Clock::now();
    if (const std::optional<std::string> line = in.next(kLook)) take(serve::read_message(*line));
  }
  stop();
} catch (const std::exception& error) {
  std::cerr << "wan-engine worker: what came on its input is no message: " << error.what() << std::endl;
  stop();
}

void BatchWorker::stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  came_.notify_all();
}

void BatchWorker::take(const json& message) {
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

void BatchWorker::cancel(const std::string& id) {
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

void BatchWorker::begin(Assignment& task) {
  if (!std::exchange(task.begun, true)) out_.send({{"is", "begun"}, {"job", task.item.id}});
}

void BatchWorker::tell_failed(const Assignment& task, const std::exception_ptr& failure) {
  out_.send(failed_message(task.item.id, failure));
}

void BatchWorker::tell_line(const Assignment& task, const UserLine& line) {
  if (task.ended) return;
  out_.send({{"is", "log"}, {"job", task.item.id}, {"level", line.level}, {"message", line.text.substr(0, kMostText)}});
}

void BatchWorker::tell_memory() {
  out_.send({{"is", "memory"}, {"device_bytes", held_bytes(placement_.device)}, {"stage_seconds", stage_seconds_}});
}

void BatchWorker::take_event(std::string_view event, const Log::Fields& fields) {
  const std::optional<UserLine> line = user_line(event, fields);
  const std::lock_guard lock(mutex_);
  Assignment* task = current_;
  const auto number = fields.find("line");
  if (number != fields.end() && number->is_number_integer()) {
    const int64_t index = number->get<int64_t>() - 1;
    if (index >= 0 && index < int64_t(tasks_.size())) task = &tasks_[size_t(index)];
  }
  if (line && task) return tell_line(*task, *line);
  Log::Fields told = fields;
  if (task) told["job"] = task->item.id;
  std::cerr << log_line(event, told, /*for_people=*/true) << std::endl;
}

}  // namespace wan
