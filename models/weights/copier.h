// Copies of weights from host memory to a device while it computes: one thread that makes them in order.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "models/weights/piece_copier.h"

namespace wan {

using at::Tensor;

/// A point in a device's work: of a stream on a GPU, null on the CPU.
using Moment = std::shared_ptr<void>;

/// Moves bytes to one kind of device. The Copier's thread calls all but now() and wait_for(), which are the computing
/// thread's. Throws c10::Error where the device fails.
class CopyEngine {
 public:
  virtual ~CopyEngine() = default;
  /// Behind everything that the calling thread has asked of the device so far.
  virtual Moment now() = 0;
  /// What the calling thread asks of the device from now on comes after `moment`.
  virtual void wait_for(const Moment& moment) = 0;
  /// Later copies come after `moment`.
  virtual void begin(const Moment& moment) = 0;
  /// `from` on the host and `to` on the device, both contiguous and of as many bytes. `from` may be changed or freed
  /// once end() has been called and its moment has passed.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  /// Behind all copies so far.
  virtual Moment end() = 0;
  /// `tensor` in host memory from which copies are fast, where there is any left; else itself.
  virtual Tensor kept(const Tensor& tensor) { return tensor; }

  /// Takes pieces of a ring's memory to the device, converted there, between begin() and end(); holds leases of at most
  /// `most_leases` of its buffers. By default they are converted on the host and given to copy(), which must have made its
  /// copy when it returns.
  virtual std::unique_ptr<PieceCopier> pieces(size_t most_leases);
  /// Memory for a ring (RingOptions::take_memory), of which pieces are copied fastest.
  virtual std::shared_ptr<char> ring_memory(size_t bytes) { return ring_memory_.take(bytes); }

 private:
  RingMemory ring_memory_;
};

/// For a CPU that stands for a device: its memory is the host's.
std::unique_ptr<CopyEngine> cpu_copy_engine();
/// For a GPU with an index: a stream of its own, and a ring of pinned pieces through which pageable memory goes. Where
/// the system refuses to pin, copies are made from pageable memory, and `tell` is called once with the reason. In a build
/// without CUDA kernels (kernels/op/built.h) it is library_copy_engine.
std::unique_ptr<CopyEngine> cuda_copy_engine(at::Device device, std::function<void(const std::string&)> tell = {});

/// By libtorch alone, for any device: one copy after the other, on the stream on which the device computes.
std::unique_ptr<CopyEngine> library_copy_engine(at::Device device);

/// One tensor of host memory and where it goes. Both hold their memory.
struct Copy {
  Tensor from, to;
};

/// What has been copied so far.
struct Copied {
  int64_t jobs = 0;
  uint64_t bytes = 0;
};

/// Makes copies by its own thread, first come first served. Its methods may be called by several threads.
class Copier {
 public:
  /// A job that was queued: whether it is done.
  class Ticket;
  /// Makes the copies of a job in turn: calls `copy` for each.
  using Work = std::function<void(CopyEngine& engine, Copied& done)>;

  explicit Copier(std::unique_ptr<CopyEngine> engine);
  /// Drops what is queued and ends after the running job.
  ~Copier();
  Copier(const Copier&) = delete;

  /// Queues a job that begins after `moment`, from which on the memory that it writes is free.
  std::shared_ptr<Ticket> add(Work work, Moment moment);
  /// Blocks until a job is done (on a GPU: is queued there), and lets the caller's work on the device wait for it.
  /// Throws what the job threw. `check` is asked several times a second meanwhile; it may throw to stop waiting.
  void wait(Ticket& ticket, const std::function<void()>& check = {});
  /// A job that nobody needs any more: it is left out if it has not begun; returns when it is out of the way.
  void cancel(Ticket& ticket);
  /// See CopyEngine::now.
  Moment now() { return engine_->now(); }

  /// Of all jobs that are done.
  Copied copied() const;
  /// Blocks until the queue is empty and no job runs.
  void settle();

 private:
  void run();

  const std::unique_ptr<CopyEngine> engine_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Ticket>> queue_;
  std::shared_ptr<Ticket> running_;
  Copied copied_;
  bool ends_ = false;
  std::thread thread_;
};

class Copier::Ticket {
 private:
  friend class Copier;
  Work work;
  Moment after, done_at;
  enum { Queued, Running, Done } state = Queued;
  std::exception_ptr failure;
};

}  // namespace wan
