// A program that is measured from outside: started, asked for its port, ended.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace wan::bench {

/// A process with a standard input that it can be told something by, and a standard error that is read. Its standard
/// output goes nowhere. Killed at the end of the scope.
class Program {
 public:
  /// `core`: it stays there, with all that it starts; -1: anywhere. Throws std::runtime_error where it cannot be
  /// started.
  explicit Program(std::vector<std::string> command, int core = -1);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t process() const { return process_; }
  std::chrono::steady_clock::time_point started() const { return started_; }
  /// Waits for a line with "http://127.0.0.1:PORT" on its standard error, at most a minute. Throws std::runtime_error,
  /// with its last lines, where none comes.
  uint16_t port();
  void tell(const std::string& text) const;
  /// SIGTERM, and waits for its end, at most a minute. Throws std::runtime_error where it ends with another code than
  /// 0.
  void stop();
  /// SIGKILL.
  void kill();
  /// How it ended where it has done so by itself, with its last lines: "wan-serve was ended by signal 9; it said: ...".
  /// Empty while it lives.
  std::string own_end();
  /// Gets own_end() where there is one when the object goes.
  std::function<void(const std::string&)> on_own_end = {};

 private:
  void read_lines();
  std::string last_lines() const;

  std::string name_;
  pid_t process_ = -1;
  int input_ = -1, errors_ = -1;
  std::chrono::steady_clock::time_point started_;
  std::atomic<bool> is_over_ = false;  // nobody wants its lines any more, whoever else may hold their other end
  std::mutex mutex_;                   // of what follows, and of nothing else
  std::condition_variable changed_;
  std::string said_;
  uint16_t port_ = 0;
  bool ended_ = false;
  std::string own_end_;
  std::thread reader_;
};

/// Processes that this one has started and that live. Empty where the system does not tell.
std::vector<pid_t> children_of(pid_t process);
/// Megabytes that are in memory now; 0 where there is no such process.
double resident_mb(pid_t process);
/// The most that have been.
double peak_mb(pid_t process);
/// The peak (VmHWM) begins again at what is in memory now. False where the system refuses.
bool reset_peak(pid_t process);
/// Seconds of a core that a process has taken, its threads together; 0 where there is no such process.
double cpu_seconds(pid_t process);

/// Part of a core that a process takes between here and part().
class CorePart {
 public:
  explicit CorePart(pid_t process) : process_(process), before_(cpu_seconds(process)) {}
  double part() const {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
    return (cpu_seconds(process_) - before_) / seconds.count();
  }

 private:
  pid_t process_;
  double before_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace wan::bench
