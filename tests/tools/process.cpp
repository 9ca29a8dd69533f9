#include "tests/tools/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace wan {
namespace {

std::atomic<int> g_count{0};

/// In the child, which may only make system calls. Does not return.
[[noreturn]] void become(const char* program, char* const* arguments, const char* folder, const char* out,
                         const char* err, const Limits& limits) {
  const int flags = O_WRONLY | O_CREAT | O_TRUNC;
  bool ready = chdir(folder) == 0 && dup2(open(out, flags, 0600), 1) == 1 && dup2(open(err, flags, 0600), 2) == 2;
  if (limits.file_bytes > 0) {
    const rlimit limit = {rlim_t(limits.file_bytes), rlim_t(limits.file_bytes)};
    ready = ready && setrlimit(RLIMIT_FSIZE, &limit) == 0;
  }
  if (ready) execv(program, arguments);
  _exit(127);
}

}  // namespace

Process::Process(const std::string& name, const std::vector<std::string>& words, const std::filesystem::path& folder,
                 const Limits& limits) {
  const std::string program = std::string(WAN_BINARY_DIR "/tools/") + name;
  // Outside of the folder, where tests look for what a program leaves behind.
  const std::string streams = std::filesystem::temp_directory_path() /
                              ("wan-streams-" + std::to_string(getpid()) + "-" + std::to_string(++g_count));
  out_ = streams + ".out";
  err_ = streams + ".err";
  std::vector<char*> arguments = {const_cast<char*>(program.c_str())};
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  child_ = fork();
  if (child_ == 0) become(program.c_str(), arguments.data(), folder.c_str(), out_.c_str(), err_.c_str(), limits);
  if (child_ < 0) throw std::runtime_error("no process could be started");
}

Process::~Process() {
  if (!reaped_) {
    kill(child_, SIGKILL);
    finish();
  }
  std::error_code ignored;
  std::filesystem::remove(out_, ignored);
  std::filesystem::remove(err_, ignored);
}

bool Process::ended() {
  if (reaped_) return true;
  int status = 0;
  rusage usage{};
  if (wait4(child_, &status, WNOHANG, &usage) != child_) return false;
  reaped_ = true;
  outcome_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome_.peak_rss = int64_t(usage.ru_maxrss) * 1024;
  return true;
}

bool Process::wait_for(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < deadline) {
    const bool over = ended();
    if (content(err_).find(text) != std::string::npos) return true;
    if (over) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

void Process::signal(int number) {
  if (!ended()) kill(child_, number);
}

Outcome Process::finish() {
  while (!ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  outcome_.out = content(out_);
  outcome_.err = content(err_);
  return outcome_;
}

}  // namespace wan
