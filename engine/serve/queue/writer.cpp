#include "engine/serve/queue/writer.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

namespace wan::serve {
namespace {

constexpr std::chrono::seconds kBetweenTries{1};

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "an error without words";
  }
}

bool is_unavailable(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const StoreUnavailable&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Nothing where the store took them.
std::exception_ptr give(Store& store, const std::vector<Change>& changes) {
  try {
    store.apply(changes);
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

StoreWriter::StoreWriter(boost::asio::io_context& io, std::unique_ptr<Store> store,
                         std::function<void(const std::string&)> report)
    : io_(io),
      store_(std::move(store)),
      report_(std::make_shared<std::function<void(const std::string&)>>(std::move(report))),
      thread_([this] { run(); }) {}

void StoreWriter::write(std::vector<Change> changes, Refused refused, Done done) {
  Task task;
  task.changes = std::move(changes);
  task.refused = refused;
  task.done = std::move(done);
  add(std::move(task));
}

void StoreWriter::ask(std::function<void(Store&)> question, Done done) {
  Task task;
  task.question = std::move(question);
  task.done = std::move(done);
  add(std::move(task));
}

void StoreWriter::add(Task task) {
  task.work = std::make_shared<Work>(io_.get_executor());
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void StoreWriter::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  store_.reset();
}

void StoreWriter::run() {
  std::vector<Task> tasks;  // at the begin of a round: those that are tried again
  for (bool is_last = false; !is_last;) {
    {
      std::unique_lock lock(mutex_);
      const auto has_come = [this] { return stopping_ || !tasks_.empty(); };
      if (tasks.empty()) {
        changed_.wait(lock, has_come);
      } else {
        changed_.wait_for(lock, kBetweenTries, has_come);
      }
      std::move(tasks_.begin(), tasks_.end(), std::back_inserter(tasks));
      tasks_.clear();
      is_last = stopping_;
    }
    for (Task& task : tasks) task.is_waiting = false;
    commit(tasks);
    for (Task& task : tasks) {
      if (task.question) ask(task);
    }
    std::vector<Task> over, again;
    for (Task& task : tasks) (task.is_waiting ? again : over).push_back(std::move(task));
    tell(std::move(over));
    tasks = std::move(again);
  }
  if (!tasks.empty())
    say("[data] " + std::to_string(tasks.size()) +
        " changes could not be written before the end; what they ended will be done again");
}

void StoreWriter::commit(std::vector<Task>& tasks) {
  const bool has_changes =
      std::any_of(tasks.begin(), tasks.end(), [](const Task& task) { return !task.changes.empty(); });
  if (!has_changes) return;
  const std::exception_ptr error = apply_together(tasks, [](const Task&) { return true; });
  if (!error) return note(true, "");
  if (!is_unavailable(error)) return apply_alone(tasks);
  for (Task& task : tasks) {
    if (!task.changes.empty() && task.refused == Refused::Fail) task.error = error;
  }
  const std::exception_ptr again =
      apply_together(tasks, [](const Task& task) { return task.refused == Refused::Retry; });
  if (again && !is_unavailable(again)) return apply_alone(tasks);
  for (Task& task : tasks) {
    if (again && !task.changes.empty() && task.refused == Refused::Retry) put_off(task);
  }
  note(false, what_of(error));
}

template <typename Which>
std::exception_ptr StoreWriter::apply_together(std::vector<Task>& tasks, const Which& which) {
  std::vector<Change> all;
  for (Task& task : tasks) {
    task.moved = which(task) ? task.changes.size() : 0;
    if (task.moved > 0) std::move(task.changes.begin(), task.changes.end(), std::back_inserter(all));
  }
  if (all.empty()) return nullptr;
  const std::exception_ptr error = give(*store_, all);
  if (!error) return nullptr;
  auto from = all.begin();
  for (Task& task : tasks) {
    for (size_t i = 0; i < task.moved; ++i) task.changes[i] = std::move(*from++);
  }
  return error;
}

void StoreWriter::apply_alone(std::vector<Task>& tasks) {
  std::exception_ptr unavailable;  // then nothing more is tried: a later change must not be made before an earlier one
  for (Task& task : tasks) {
    if (task.changes.empty() || task.error) continue;
    const std::exception_ptr error = unavailable ? unavailable : give(*store_, task.changes);
    if (error && is_unavailable(error)) unavailable = error;
    if (unavailable && task.refused == Refused::Retry) {
      put_off(task);
    } else {
      task.error = error;
    }
  }
  if (unavailable) note(false, what_of(unavailable));
}

void StoreWriter::put_off(Task& task) {
  task.is_waiting = true;
  task.work.reset();  // the server may end meanwhile
}

void StoreWriter::ask(Task& task) {
  try {
    task.question(*store_);
  } catch (...) {
    task.error = std::current_exception();
  }
  for (const std::string& trouble : store_->take_troubles()) say(trouble);
}

void StoreWriter::note(bool works, const std::string& why) {
  if (works == works_) return;
  works_ = works;
  say(works ? "[data] the store takes changes again"
            : why + "; new jobs are refused, and what ended is kept in memory until it can be written");
}

void StoreWriter::say(const std::string& text) {
  boost::asio::post(io_, [report = report_, text] { (*report)(text); });
}

void StoreWriter::tell(std::vector<Task> tasks) {
  if (tasks.empty()) return;
  // In a shared_ptr: Boost 1.74 copies what it is given.
  auto over = std::make_shared<std::vector<Task>>(std::move(tasks));
  boost::asio::post(io_, [report = report_, over] {
    for (const Task& task : *over) {
      try {
        task.done(task.error);
      } catch (const std::exception& error) {
        (*report)(std::string("[data] after a change: ") + error.what());
      }
    }
  });
}

}  // namespace wan::serve
