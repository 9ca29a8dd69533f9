#include "tools/serve_bench/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "tools/serve_bench/cores.h"

namespace wan::bench {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr size_t kMostSaid = 64 << 10;

/// The port in a text of whole lines; 0 where none is named.
uint16_t port_in(const std::string& text) {
  constexpr std::string_view kBegin = "http://127.0.0.1:";
  const size_t at = text.find(kBegin);
  if (at == text.npos || text.find('\n', at) == text.npos) return 0;
  return uint16_t(std::strtoul(text.c_str() + at + kBegin.size(), nullptr, 10));
}

/// Calls posix_spawnp; the error number, or 0.
int spawn(const std::vector<std::string>& command, int input, int errors, pid_t& process) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int error = posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/// A line of /proc/PID/status that counts KiB, in megabytes; 0 where there is none.
double status_mb(pid_t process, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name)) return std::stod(line.substr(name.size())) * 1024 / 1e6;
  return 0;
}

std::string status_text(int status) {
  if (WIFEXITED(status)) return "ended with " + std::to_string(WEXITSTATUS(status));
  return "was ended by signal " + std::to_string(WTERMSIG(status));
}

}  // namespace

Program::Program(std::vector<std::string> command, int core) : name_(command[0].substr(command[0].rfind('/') + 1)) {
  int ends[2] = {-1, -1}, lines[2] = {-1, -1};
  // A pair of sockets: writing to one that is closed on the other side is an error then, and no signal.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || pipe2(lines, O_CLOEXEC) != 0) {
    for (const int end : ends)
      if (end >= 0) close(end);
    throw std::runtime_error("[" + name_ + "] cannot be started: " + std::strerror(errno));
  }
  input_ = ends[0], errors_ = lines[0];
  int error = 0;
  {
    std::optional<OnCore> there;
    if (core >= 0) there.emplace(core);
    started_ = std::chrono::steady_clock::now();
    error = spawn(command, ends[1], lines[1], process_);
  }
  close(ends[1]);
  close(lines[1]);
  if (error != 0) {
    close(input_);
    close(errors_);
    throw std::runtime_error("[" + name_ + "] cannot be started: " + std::strerror(error));
  }
  reader_ = std::thread([this] { read_lines(); });
}

Program::~Program() {
  if (const std::string end = own_end(); !end.empty() && on_own_end) on_own_end(end);
  kill();
  is_over_ = true;
  reader_.join();
  close(input_);
  close(errors_);
}

void Program::read_lines() {
  char buffer[4096];
  while (!is_over_) {
    pollfd readable = {errors_, POLLIN, 0};
    if (poll(&readable, 1, 100) == 0) continue;
    const ssize_t got = read(errors_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (got <= 0) {
      ended_ = true;
      changed_.notify_all();
      return;
    }
    said_.append(buffer, size_t(got));
    if (port_ == 0 && (port_ = port_in(said_)) != 0) changed_.notify_all();
    if (said_.size() > kMostSaid) said_.erase(0, said_.size() - kMostSaid / 2);
  }
}

std::string Program::last_lines() const {
  const size_t begin = said_.size() > 500 ? said_.find('\n', said_.size() - 500) : 0;
  std::string text = begin == said_.npos ? said_ : said_.substr(begin);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& letter : text)
    if (letter == '\n') letter = ';';
  return text.empty() ? "it said nothing" : "it said: " + text;
}

uint16_t Program::port() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] { return port_ != 0 || ended_; });
  if (port_ != 0) return port_;
  throw std::runtime_error("[" + name_ + "] " + (ended_ ? "ended" : "did not listen within a minute") + "; " +
                           last_lines());
}

void Program::tell(const std::string& text) const {
  if (send(input_, text.data(), text.size(), MSG_NOSIGNAL) != ssize_t(text.size()))
    throw std::runtime_error("[" + name_ + "] takes no message: " + std::strerror(errno));
}

void Program::stop() {
  ::kill(process_, SIGTERM);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  int status = 0;
  while (waitpid(process_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error("[" + name_ + "] did not end within a minute after SIGTERM");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  process_ = -1;
  const std::lock_guard lock(mutex_);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error("[" + name_ + "] " + status_text(status) + " after SIGTERM; " + last_lines());
}

std::string Program::own_end() {
  int status = 0;
  if (process_ < 0) return own_end_;
  // The sockets of a program that is killed close some time before it counts as ended.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  while (waitpid(process_, &status, WNOHANG) != process_) {
    if (std::chrono::steady_clock::now() > end) return own_end_;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  process_ = -1;
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(200), [this] { return ended_; });  // its last lines
  return own_end_ = name_ + " " + status_text(status) + "; " + last_lines();
}

void Program::kill() {
  if (process_ < 0) return;
  ::kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

std::vector<pid_t> children_of(pid_t process) {
  const std::string id = std::to_string(process);
  std::ifstream in("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> found;
  for (pid_t child = 0; in >> child;) found.push_back(child);
  return found;
}

double resident_mb(pid_t process) {
  return status_mb(process, "VmRSS:");
}

double peak_mb(pid_t process) {
  return status_mb(process, "VmHWM:");
}

bool reset_peak(pid_t process) {
  std::ofstream out("/proc/" + std::to_string(process) + "/clear_refs");
  out << "5" << std::flush;
  return out.good();
}

double cpu_seconds(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  // Behind the name, which may hold anything: state, and utime and stime as the 12th and 13th from there.
  const size_t end = text.rfind(')');
  if (end == text.npos) return 0;
  std::istringstream words(text.substr(end + 1));
  std::string word;
  double ticks = 0;
  for (int i = 1; i <= 13 && words >> word; ++i)
    if (i >= 12) ticks += std::stod(word);
  return ticks / double(sysconf(_SC_CLK_TCK));
}

}  // namespace wan::bench
