// Executes a kernel source on the CPU: one fiber for each CUDA thread of a block, the blocks of the grid in turn.
// Tests only. Finds what a GPU hides: a barrier that not all threads reach, shared memory read before it was written
// (it starts as NaN; run all orders to see a missing barrier), writes past the dynamic shared memory, a missing wait.
#pragma once

#include <ucontext.h>
#include <vector_types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

namespace wan::simt {

/// The order in which the threads between two barriers run, and when an asynchronous copy lands: as late as the
/// hardware may (when it is waited for), or at once. What one hides of a missing barrier or wait, the other shows.
/// Shuffled is Reverse with a random subset of the warps at each turn, the same ones in each run.
enum class Order { Forward, Reverse, Shuffled };

/// A copy that cp.async has begun.
struct PendingCopy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;

  void perform() const {
    if (from)
      std::memcpy(to, from, bytes);
    else
      std::memset(to, 0, bytes);
  }
};

/// A copy by the copy engine, until the barrier that counts its bytes is waited for.
struct PendingTransfer {
  const void* barrier;
  std::function<void()> perform;
};

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
/// Saves the registers that a called function keeps, leaves the stack and goes on where `to` was left.
__attribute__((naked, noinline)) inline void switch_stacks(void** /*from*/, void* /*to*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n\t"
      "mov %rsp, (%rdi); mov %rsi, %rsp\n\t"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}

/// A stack that is left and entered again. Not with swapcontext, which asks the kernel for the signal mask at every
/// switch: that was half the time of the kernels' tests.
class Continuation {
 public:
  /// The first switch to it calls `entry`, which never returns.
  void start(std::byte* stack, size_t bytes, void (*entry)()) {
    auto top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) / 16 * 16);
    *--top = nullptr;  // where `entry` would return to
    *--top = reinterpret_cast<void*>(entry);
    top_ = std::fill_n(top - 6, 6, nullptr) - 6;
  }
  void switch_to(Continuation& other) { switch_stacks(&top_, other.top_); }

 private:
  void* top_ = nullptr;
};
#else
/// A stack that is left and entered again.
class Continuation {
 public:
  /// The first switch to it calls `entry`, which never returns.
  void start(std::byte* stack, size_t bytes, void (*entry)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }
  void switch_to(Continuation& other) { swapcontext(&context_, &other.context_); }

 private:
  ucontext_t context_;
};
#endif

/// One CUDA thread.
struct Fiber {
  enum class State { Ready, Barrier, Collective, Event, Paused, Done };
  Continuation continuation;
  std::unique_ptr<std::byte[]> stack;
  State state = State::Done;
  uint3 index;
  std::source_location place;
  const char* waits_for = "";
  void* payload = nullptr;
  std::function<bool()> event;  // what a fiber in the state Event waits for
  std::vector<PendingCopy> open_copies;
  std::deque<std::vector<PendingCopy>> copy_groups;
  // Asynchronous products of this warp, kept by its first lane (sm90_host.h).
  std::vector<std::function<void()>> open_products;
  std::deque<std::vector<std::function<void()>>> product_groups;
  bool products_fenced = false;
};

/// The block that is running, its threads and its shared memory.
class Block {
 public:
  Block(dim3 shape, size_t dynamic_bytes, Order order);

  /// Runs all threads of one block to their end. Throws what a thread throws, and on divergence.
  template <typename Kernel>
  void run(const Kernel& kernel) {
    begin([](void* argument) { (*static_cast<const Kernel*>(argument))(); }, const_cast<Kernel*>(&kernel));
  }

  void block_barrier(std::source_location place) { wait(Fiber::State::Barrier, "the barrier", place); }

  /// Returns when `event()` is true, which other threads bring about.
  void wait_for(std::function<bool()> event, const char* what, std::source_location place) {
    if (event()) return;
    fiber_->event = std::move(event);
    wait(Fiber::State::Event, what, place);
  }

  /// Lets the other threads run as far as they can without this one.
  void pause(std::source_location place) { wait(Fiber::State::Paused, "the others", place); }

  /// Leaves `payload` for the other lanes and returns when `combine` has run over those of all 32.
  void collective(const char* name, void* payload, void (*combine)(void* const*, void*), void* argument,
                  std::source_location place);

  unsigned char* dynamic_shared() { return dynamic_; }
  size_t dynamic_bytes() const { return dynamic_bytes_; }
  std::vector<PendingTransfer>& transfers() { return transfers_; }
  /// The first lane of the warp that is running.
  Fiber& first_lane() { return *lane(0); }
  std::vector<std::byte>& static_shared(const void* key, size_t bytes);
  Fiber& fiber() { return *fiber_; }
  Order order() const { return order_; }

 private:
  static constexpr size_t kStack = 256 << 10, kGuard = 256;
  static constexpr std::byte kPoison{0xff};  // NaN in every floating-point format

  static void enter();
  void begin(void (*kernel)(void*), void* argument);
  void start_all();
  bool run_ready();
  bool run_lanes(size_t warp);
  bool resume_paused();
  void release_barrier();
  [[noreturn]] void fail_stuck() const;
  void wait(Fiber::State state, const char* what, std::source_location place);
  Fiber* lane(int i) { return &fibers_[(fiber_ - fibers_.data()) / 32 * 32 + i]; }

  /// The lanes of one warp that wait for the others, and where.
  struct Gathering {
    int arrived = 0;
    const char* name = nullptr;
    unsigned line = 0;
  };

  std::vector<Fiber> fibers_;
  std::vector<Gathering> gatherings_;
  Order order_;
  std::minstd_rand turns_;  // of Shuffled
  Continuation scheduler_;
  Fiber* fiber_ = nullptr;
  void (*kernel_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::exception_ptr error_;
  std::vector<PendingTransfer> transfers_;
  size_t dynamic_bytes_;
  std::vector<std::byte> dynamic_storage_;
  unsigned char* dynamic_;
  std::map<const void*, std::vector<std::byte>> static_shared_;
};

inline thread_local Block* running = nullptr;
inline Block& running_block() {
  return *running;
}

/// The variable behind WAN_SHARED: one for each place in the source, that is, for each type of `place`.
template <typename T, typename Place>
T& shared_variable(Place) {
  static constexpr char key = 0;
  return *reinterpret_cast<T*>(running_block().static_shared(&key, sizeof(T)).data());
}

/// What 32 lanes do together: `combine(std::array<Lane*, 32>&)` runs once, when the last lane has come.
template <typename Lane, typename Combine>
void warp_collective(const char* name, Lane& lane, Combine combine, std::source_location place) {
  auto call = [](void* const* payloads, void* argument) {
    std::array<Lane*, 32> lanes;
    for (int i = 0; i < 32; ++i) lanes[i] = static_cast<Lane*>(payloads[i]);
    (*static_cast<Combine*>(argument))(lanes);
  };
  running_block().collective(name, &lane, call, &combine, place);
}

/// Runs `kernel()` for every thread of every block, as kernel<<<grid, block, dynamic_bytes>>> would.
/// Throws std::logic_error where threads diverge at a barrier or at a warp-wide instruction, and on a shared-memory
/// overrun.
template <typename Kernel>
void launch(dim3 grid, dim3 block, size_t dynamic_bytes, const Kernel& kernel, Order order = Order::Forward) {
  gridDim = grid;
  blockDim = block;
  Block threads(block, dynamic_bytes, order);
  struct Running {
    explicit Running(Block* block) { running = block; }
    ~Running() { running = nullptr; }
  } scope(&threads);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        threads.run(kernel);
      }
    }
  }
}

inline Block::Block(dim3 shape, size_t dynamic_bytes, Order order)
    : fibers_(size_t(shape.x) * shape.y * shape.z),
      order_(order),
      dynamic_bytes_(dynamic_bytes),
      dynamic_storage_(dynamic_bytes + 2 * kGuard) {
  if (fibers_.empty() || fibers_.size() % 32 || fibers_.size() > 1024) {
    throw std::logic_error("[simt] a block has 32 to 1024 threads in whole warps, got " +
                           std::to_string(fibers_.size()));
  }
  auto address = reinterpret_cast<uintptr_t>(dynamic_storage_.data());
  dynamic_ = reinterpret_cast<unsigned char*>((address + 127) / 128 * 128);
  unsigned i = 0;
  for (Fiber& fiber : fibers_) {
    fiber.stack = std::make_unique_for_overwrite<std::byte[]>(kStack);
    fiber.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    ++i;
  }
}

inline std::vector<std::byte>& Block::static_shared(const void* key, size_t bytes) {
  auto [at, fresh] = static_shared_.try_emplace(key);
  if (fresh) at->second.assign(bytes, kPoison);
  return at->second;
}

inline void Block::enter() {
  Block& block = running_block();
  try {
    block.kernel_(block.argument_);
  } catch (...) {
    block.error_ = std::current_exception();
  }
  block.fiber_->state = Fiber::State::Done;
  block.fiber_->continuation.switch_to(block.scheduler_);
}

inline void Block::start_all() {
  static_shared_.clear();
  std::memset(dynamic_storage_.data(), int(kPoison), dynamic_storage_.size());
  error_ = nullptr;
  transfers_.clear();
  gatherings_.assign(fibers_.size() / 32, {});
  for (Fiber& fiber : fibers_) {
    fiber.continuation.start(fiber.stack.get(), kStack, &Block::enter);
    fiber.state = Fiber::State::Ready;
    fiber.open_copies.clear();
    fiber.copy_groups.clear();
    fiber.open_products.clear();
    fiber.product_groups.clear();
    fiber.products_fenced = false;
  }
}

// A warp runs as far as it can before the next one does, so that what only a barrier keeps apart is far apart.
inline bool Block::run_ready() {
  bool progress = false;
  std::vector<size_t> warps(gatherings_.size());
  std::iota(warps.begin(), warps.end(), size_t(0));
  if (order_ == Order::Reverse) std::reverse(warps.begin(), warps.end());
  if (order_ == Order::Shuffled) std::shuffle(warps.begin(), warps.end(), turns_);
  // Who is not drawn has a turn where the others cannot go on.
  const size_t drawn = order_ == Order::Shuffled ? (warps.size() + 1) / 2 : warps.size();
  for (size_t i = 0; i < warps.size() && (i < drawn || !progress); ++i) {
    while (run_lanes(warps[i])) progress = true;
  }
  return progress;
}

inline bool Block::run_lanes(size_t warp) {
  bool progress = false;
  for (size_t i = 0; i < 32; ++i) {
    Fiber& fiber = fibers_[32 * warp + (order_ == Order::Forward ? i : 31 - i)];
    if (fiber.state == Fiber::State::Event && fiber.event()) fiber.state = Fiber::State::Ready;
    if (fiber.state != Fiber::State::Ready) continue;
    progress = true;
    fiber_ = &fiber;
    threadIdx = fiber.index;
    scheduler_.switch_to(fiber.continuation);
    if (error_) std::rethrow_exception(error_);
  }
  return progress;
}

inline bool Block::resume_paused() {
  bool resumed = false;
  for (Fiber& fiber : fibers_) {
    if (fiber.state != Fiber::State::Paused) continue;
    fiber.state = Fiber::State::Ready;
    resumed = true;
  }
  return resumed;
}

inline void Block::release_barrier() {
  for (const Fiber& fiber : fibers_) {
    if (fiber.state != Fiber::State::Barrier || fiber.place.line() != fibers_[0].place.line()) fail_stuck();
  }
  for (Fiber& fiber : fibers_) fiber.state = Fiber::State::Ready;
}

inline void Block::begin(void (*kernel)(void*), void* argument) {
  kernel_ = kernel;
  argument_ = argument;
  start_all();
  for (;;) {
    if (run_ready() || resume_paused()) continue;
    bool done = true;
    for (const Fiber& fiber : fibers_) done = done && fiber.state == Fiber::State::Done;
    if (done) break;
    release_barrier();
  }
  for (const Fiber& fiber : fibers_) {
    if (!fiber.open_products.empty() || !fiber.product_groups.empty())
      throw std::logic_error("[simt] the kernel ended before its products were waited for");
  }
  auto end = reinterpret_cast<const std::byte*>(dynamic_) + dynamic_bytes_;
  for (; end != dynamic_storage_.data() + dynamic_storage_.size(); ++end) {
    if (*end != kPoison) throw std::logic_error("[simt] the kernel wrote past its dynamic shared memory");
  }
}

inline void Block::fail_stuck() const {
  std::map<std::string, std::string> waiting;  // where -> which threads
  for (size_t i = 0; i < fibers_.size(); ++i) {
    const Fiber& fiber = fibers_[i];
    std::string where = fiber.state == Fiber::State::Done
                            ? "the end"
                            : std::string(fiber.waits_for) + " in " + fiber.place.file_name() + ":" +
                                  std::to_string(fiber.place.line());
    if (waiting[where].size() < 40) waiting[where] += " " + std::to_string(i);
  }
  std::string message = "[simt] threads of one block diverge or wait for ever:";
  for (const auto& [where, threads] : waiting) message += " at " + where + ": threads" + threads + ";";
  throw std::logic_error(message);
}

inline void Block::wait(Fiber::State state, const char* what, std::source_location place) {
  Fiber& self = *fiber_;
  self.state = state;
  self.waits_for = what;
  self.place = place;
  self.continuation.switch_to(scheduler_);
}

inline void Block::collective(const char* name, void* payload, void (*combine)(void* const*, void*), void* argument,
                              std::source_location place) {
  Fiber& self = *fiber_;
  self.payload = payload;
  Gathering& warp = gatherings_[size_t(fiber_ - fibers_.data()) / 32];
  if (warp.arrived == 0) warp = {0, name, place.line()};
  // A lane that comes to another place waits for ever, and so do the others: begin() then says who is where.
  if (warp.name != name || warp.line != place.line()) return wait(Fiber::State::Collective, name, place);
  const int arrived = ++warp.arrived;
  if (arrived < 32) return wait(Fiber::State::Collective, name, place);
  void* payloads[32];
  for (int i = 0; i < 32; ++i) payloads[i] = lane(i)->payload;
  combine(payloads, argument);
  warp.arrived = 0;
  for (int i = 0; i < 32; ++i) lane(i)->state = Fiber::State::Ready;
}

}  // namespace wan::simt
