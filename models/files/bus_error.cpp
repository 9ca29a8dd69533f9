#include "models/files/bus_error.h"

#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>

namespace wan {
namespace {

constexpr int kExitModel = 3;

/// Nothing here takes memory or a lock: the handler reads it in the middle of anything.
struct Range {
  enum State : int { Free, Taken, Watched };
  std::atomic<int> state{Free};
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> size{0};
  std::array<char, 201> name{};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

std::array<Range, 512> g_ranges;

void say(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(size_t(written));
  }
}

void on_bus_error(int number, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Range& range : g_ranges) {
    if (info->si_code != BUS_ADRERR || range.state.load(std::memory_order_acquire) != Range::Watched) continue;
    if (address - range.begin.load() >= range.size.load()) continue;
    termios terminal;
    if (tcgetattr(STDERR_FILENO, &terminal) == 0) say("\n");  // below a bar
    say("wan-infer: [");
    say(range.name.data());
    say("] became shorter while it was read, or its disk failed; put the whole file back, then the same command goes "
        "on\n");
    _exit(kExitModel);
  }
  // The instruction, or who sent the signal, meets the default action.
  signal(number, SIG_DFL);
  if (info->si_code <= 0) raise(number);
}

}  // namespace

void install_bus_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

int watch_range(const void* data, size_t size, std::string_view name) {
  for (size_t i = 0; i < g_ranges.size(); ++i) {
    Range& range = g_ranges[i];
    int free = Range::Free;
    if (!range.state.compare_exchange_strong(free, Range::Taken)) continue;
    range.begin = reinterpret_cast<uintptr_t>(data);
    range.size = size;
    const size_t length = std::min(name.size(), range.name.size() - 1);
    std::memcpy(range.name.data(), name.data(), length);
    range.name[length] = '\0';
    range.state.store(Range::Watched, std::memory_order_release);
    return int(i);
  }
  return -1;
}

void unwatch_range(int number) {
  if (number >= 0) g_ranges[size_t(number)].state.store(Range::Free, std::memory_order_release);
}

}  // namespace wan
