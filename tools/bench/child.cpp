#include "tools/bench/child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace wan::bench {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double seconds_of(const timeval& time) {
  return double(time.tv_sec) + double(time.tv_usec) / 1e6;
}

pid_t start(const std::vector<std::string>& command, int out, bool quiet) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (quiet) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : -error;
}

/// Waits for output, but not longer than this. False once the other end is closed.
bool read_some(int from, int milliseconds, std::string& out) {
  pollfd readable = {from, POLLIN, 0};
  if (poll(&readable, 1, milliseconds) == 0) return true;
  char buffer[4096];
  const ssize_t count = read(from, buffer, sizeof buffer);
  if (count > 0) out.append(buffer, size_t(count));
  return count > 0;
}

}  // namespace

double peak_resident_mb(const std::string& process) {
  std::ifstream status("/proc/" + process + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  return 0;
}

ChildResult run_child(const std::vector<std::string>& command, bool quiet) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("[pipe] ") + std::strerror(errno));
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = start(command, ends[1], quiet);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    throw std::runtime_error("[" + command[0] + "] cannot be started: " + std::strerror(-child));
  }
  ChildResult result = {};
  // The peak is polled: wait4's ru_maxrss begins at the size of the process that started the child.
  int status = 0;
  rusage usage = {};
  bool open = true;
  while (wait4(child, &status, WNOHANG, &usage) == 0) {
    result.peak_mb = std::max(result.peak_mb, peak_resident_mb(std::to_string(child)));
    // Every millisecond at first, then a fiftieth of the time gone: a child that runs long is not disturbed.
    if (open)
      open = read_some(ends[0], std::clamp(int(seconds_since(begin) * 20), 1, 50), result.out);
    else
      usleep(500);
  }
  while (open && read_some(ends[0], 1, result.out)) {
  }
  result.seconds = seconds_since(begin);
  close(ends[0]);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  return result;
}

}  // namespace wan::bench
