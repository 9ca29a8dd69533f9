// A store whose commits a test can hold up, refuse and count.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "engine/serve/queue/store.h"

namespace wan::serve {

/// The test's side of it; both threads use it.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_closed = false;             // commits wait
  bool refuses = false;               // commits are refused
  int waiting = 0;                    // commits at the closed gate
  std::vector<size_t> commits;        // how many changes each had
  std::chrono::milliseconds disk{0};  // how long each takes
  int refused_questions = 0;          // so many of hooks() are refused
  /// Whether a change is refused for good, as one that is itself at fault.
  std::function<bool(const Change&)> is_wrong;

  void set(bool closed) {
    const std::lock_guard lock(mutex);
    is_closed = closed;
    changed.notify_all();
  }
  void refuse(bool on) {
    const std::lock_guard lock(mutex);
    refuses = on;
  }
  void wait_until_one_waits() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return waiting > 0; });
  }
  size_t count() {
    const std::lock_guard lock(mutex);
    return commits.size();
  }
};

class GatedStore : public Store {
 public:
  GatedStore(std::unique_ptr<Store> store, std::shared_ptr<Gate> gate)
      : store_(std::move(store)), gate_(std::move(gate)) {}

  void apply(const std::vector<Change>& changes) override {
    {
      std::unique_lock lock(gate_->mutex);
      ++gate_->waiting;
      gate_->changed.notify_all();
      gate_->changed.wait(lock, [this] { return !gate_->is_closed; });
      --gate_->waiting;
      if (gate_->refuses) throw StoreUnavailable("[data] the disk is full; make room");
      for (const Change& change : changes)
        if (gate_->is_wrong && gate_->is_wrong(change)) throw std::runtime_error("[data] a change is at fault");
      gate_->commits.push_back(changes.size());
    }
    std::this_thread::sleep_for(gate_->disk);
    store_->apply(changes);
  }
  std::optional<Job> find(const std::string& id) override { return store_->find(id); }
  std::vector<Job> unfinished() override { return store_->unfinished(); }
  std::vector<Job> list(const JobFilter& filter) override { return store_->list(filter); }
  int64_t count(const JobFilter& filter) override { return store_->count(filter); }
  std::vector<EndedJob> oldest_ended(int64_t most, bool hidden) override { return store_->oldest_ended(most, hidden); }
  std::vector<LogEntry> logs(const std::string& job) override { return store_->logs(job); }
  std::vector<PutHook> hooks() override {
    const std::lock_guard lock(gate_->mutex);
    if (gate_->refused_questions > 0 && gate_->refused_questions--) throw StoreUnavailable("[data] the disk is broken");
    return store_->hooks();
  }
  std::optional<PutUpload> find_upload(const std::string& file) override { return store_->find_upload(file); }
  std::vector<PutUpload> uploads_before(int64_t created, int64_t most) override {
    return store_->uploads_before(created, most);
  }
  uint64_t upload_bytes(const std::string& owner) override { return store_->upload_bytes(owner); }
  double video_seconds_since(const std::string& owner, int64_t charged) override {
    return store_->video_seconds_since(owner, charged);
  }
  int64_t last_charged() override { return store_->last_charged(); }
  std::vector<MadeVideos> made_videos(const std::optional<std::string>& owner) override {
    return store_->made_videos(owner);
  }
  bool knows_file(const std::string& name) override { return store_->knows_file(name); }
  void wipe_removed() override { store_->wipe_removed(); }
  std::vector<std::string> take_troubles() override { return store_->take_troubles(); }
  void refuse_changes(const std::string& why) override { store_->refuse_changes(why); }

 private:
  std::unique_ptr<Store> store_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace wan::serve
