#include "models/weights/copier.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace wan {
namespace {

/// By an engine's copy().
class EnginePieces : public PieceCopier {
 public:
  explicit EnginePieces(CopyEngine& engine) : engine_(engine) {}
  void copy(const Tensor& piece, const Tensor& to, const std::shared_ptr<const void>&) override {
    engine_.copy(piece.to(to.scalar_type()), to);
  }
  Tensor moved(const Tensor& piece, const std::shared_ptr<const void>&) override { return piece; }
  void finish() override {}

 private:
  CopyEngine& engine_;
};

void check_bytes(const Tensor& from, const Tensor& to) {
  TORCH_CHECK(from.nbytes() == to.nbytes() && from.is_contiguous() && to.is_contiguous(),
              "[copy] must fill as many contiguous bytes, got ", from.nbytes(), " for ", to.nbytes());
}

/// What is asked of a device on its default stream happens in the order in which it was asked, so no moment is needed.
class LibraryCopyEngine : public CopyEngine {
 public:
  explicit LibraryCopyEngine(at::Device device) : device_(device) {}
  Moment now() override { return nullptr; }
  void wait_for(const Moment&) override {}
  void begin(const Moment&) override {}
  void copy(const Tensor& from, const Tensor& to) override {
    check_bytes(from, to);
    if (from.nbytes() == 0) return;
    const auto bytes = [](const Tensor& x) { return x.view({-1}).view(at::kByte); };
    bytes(to).copy_(bytes(from));
  }
  Moment end() override { return nullptr; }
  std::unique_ptr<PieceCopier> pieces(size_t most_leases) override {
    return device_.is_cpu() ? host_copier() : device_copier(device_, most_leases);
  }

 private:
  const at::Device device_;
};

class CpuCopyEngine : public CopyEngine {
 public:
  Moment now() override { return nullptr; }
  void wait_for(const Moment&) override {}
  void begin(const Moment&) override {}
  void copy(const Tensor& from, const Tensor& to) override {
    check_bytes(from, to);
    if (from.nbytes() > 0) std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes());
  }
  Moment end() override { return nullptr; }
  std::unique_ptr<PieceCopier> pieces(size_t) override { return host_copier(); }
};

}  // namespace

std::unique_ptr<PieceCopier> CopyEngine::pieces(size_t) {
  return std::make_unique<EnginePieces>(*this);
}

std::unique_ptr<CopyEngine> cpu_copy_engine() {
  return std::make_unique<CpuCopyEngine>();
}

std::unique_ptr<CopyEngine> library_copy_engine(at::Device device) {
  return std::make_unique<LibraryCopyEngine>(device);
}

Copier::Copier(std::unique_ptr<CopyEngine> engine) : engine_(std::move(engine)), thread_([this] { run(); }) {}

Copier::~Copier() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

std::shared_ptr<Copier::Ticket> Copier::add(Work work, Moment moment) {
  auto ticket = std::make_shared<Ticket>();
  ticket->work = std::move(work);
  ticket->after = std::move(moment);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(ticket);
  }
  changed_.notify_all();
  return ticket;
}

void Copier::wait(Ticket& ticket, const std::function<void()>& check) {
  constexpr std::chrono::milliseconds kBetweenChecks(50);
  Moment moment;
  {
    std::unique_lock lock(mutex_);
    const auto is_done = [&] { return ticket.state == Ticket::Done; };
    if (!check) changed_.wait(lock, is_done);
    while (!changed_.wait_for(lock, kBetweenChecks, is_done)) {
      lock.unlock();
      check();
      lock.lock();
    }
    if (ticket.failure) std::rethrow_exception(ticket.failure);
    moment = ticket.done_at;
  }
  engine_->wait_for(moment);
}

void Copier::cancel(Ticket& ticket) {
  std::unique_lock lock(mutex_);
  const auto mine = std::find_if(queue_.begin(), queue_.end(), [&](const auto& one) { return one.get() == &ticket; });
  if (mine != queue_.end()) {
    ticket.state = Ticket::Done;
    ticket.work = nullptr;
    ticket.failure = std::make_exception_ptr(std::logic_error("[copy] was given up"));
    queue_.erase(mine);
    return;
  }
  changed_.wait(lock, [&] { return ticket.state == Ticket::Done; });
  const Moment moment = ticket.done_at;
  lock.unlock();
  if (moment) engine_->wait_for(moment);
}

Copied Copier::copied() const {
  const std::lock_guard lock(mutex_);
  return copied_;
}

void Copier::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return queue_.empty() && !running_; });
}

void Copier::run() {
  // The memory of weights may have been taken in this mode, and only in it may it be written.
  const c10::InferenceMode inference;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ends_ || !queue_.empty(); });
    if (ends_) return;
    running_ = std::move(queue_.front());
    queue_.pop_front();
    Ticket& ticket = *running_;
    ticket.state = Ticket::Running;
    Copied done;
    Moment moment;
    std::exception_ptr failure;
    lock.unlock();
    try {
      engine_->begin(ticket.after);
      ticket.work(*engine_, done);
      moment = engine_->end();
    } catch (...) {
      failure = std::current_exception();
      // What was queued before may still be written.
      try {
        moment = engine_->end();
      } catch (...) {
      }
    }
    // What the job holds goes here: destructors may take long, and may not run under the lock.
    ticket.work = nullptr;
    ticket.after = nullptr;
    lock.lock();
    ticket.done_at = std::move(moment);
    ticket.failure = failure;
    ticket.state = Ticket::Done;
    if (!failure) {
      ++copied_.jobs;
      copied_.bytes += done.bytes;
    }
    running_.reset();
    changed_.notify_all();
  }
}

}  // namespace wan
