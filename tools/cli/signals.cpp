#include "tools/cli/signals.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <initializer_list>

namespace wan {

namespace {

constexpr std::initializer_list<int> kTaken = {SIGINT, SIGTERM, SIGHUP};

constexpr int64_t kAsOne = 500'000'000;  // nanoseconds after the first

std::atomic<int> g_came{0};
std::atomic<int64_t> g_first{0};  // when the first one came, nanoseconds of the monotonic clock

/// May be called by a handler of signals.
int64_t now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

void on_signal(int number) {
  const int64_t time = now();
  int64_t first = 0;
  const bool is_first = g_first.compare_exchange_strong(first, time);
  const int before = g_came.exchange(number);
  // A closing terminal sends SIGHUP more than once. `before` is 0 where the first one's handler, in another thread, is
  // about to set it.
  if (is_first || before == 0 || number == SIGHUP) return;
  if (before == number && time - first < kAsOne) return;
  // The second one: the step takes too long for the user.
  std::signal(number, SIG_DFL);
  raise(number);
}

sigset_t taken_set() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : kTaken) sigaddset(&set, number);
  return set;
}

}  // namespace

void take_signals() {
  for (int number : kTaken) {
    struct sigaction before = {};
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  const sigset_t set = taken_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void hold_signals() {
  const sigset_t set = taken_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int signal_that_came() {
  return g_came;
}

bool stdout_closed() {
  pollfd out = {STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

std::string signal_text(int signal) {
  return signal == SIGTERM ? "terminated" : signal == SIGHUP ? "the terminal was closed" : "interrupted";
}

}  // namespace wan
