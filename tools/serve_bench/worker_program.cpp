// wan-bench-worker: a worker for `wan-bench serve`. It speaks the protocol (engine/serve/work/protocol.h), renders nothing,
// and has one thread. A job whose prompt begins with "hold" is worked on, by a loop that takes a whole core, until it is
// cancelled or the worker stopped; each second it tells a step and logs a line. All others end at once.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "engine/serve/work/protocol.h"

namespace wan::bench {
namespace {

using nlohmann::json;
using serve::WorkBatch;
using serve::WorkItem;
using Clock = std::chrono::steady_clock;

class BenchWorker {
 public:
  int run() {
    say({{"is", "ready"}, {"device", "none"}, {"pid", getpid()}});
    for (;;) {
      listen(batches_.empty() ? -1 : 0);
      if (is_stopped_) return 0;
      if (batches_.empty()) continue;
      const WorkBatch batch = std::move(batches_.front());
      batches_.pop_front();
      for (const WorkItem& job : batch.jobs) work_on(job);
      if (is_stopped_) return 0;
      say({{"is", "batch"}, {"batch", batch.id}, {"resident", false}});
    }
  }

 private:
  static void say(const json& message) {
    const std::string line = serve::line_of(message);
    for (size_t at = 0; at < line.size();) {
      const ssize_t written = write(STDOUT_FILENO, line.data() + at, line.size() - at);
      if (written <= 0) _exit(1);
      at += size_t(written);
    }
  }

  /// Takes what was said, and waits for it so long (-1: for ever).
  void listen(int milliseconds) {
    pollfd readable = {STDIN_FILENO, POLLIN, 0};
    while (!is_stopped_ && poll(&readable, 1, milliseconds) > 0) {
      char buffer[65536];
      const ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
      if (got <= 0) {
        is_stopped_ = true;
        return;
      }
      said_.append(buffer, size_t(got));
      for (size_t end = said_.find('\n'); end != said_.npos; end = said_.find('\n')) {
        take(serve::read_message(std::string_view(said_).substr(0, end)));
        said_.erase(0, end + 1);
      }
      milliseconds = 0;
    }
  }

  void take(const json& message) {
    const std::string what = message.at("do");
    if (what == "render") batches_.push_back(message.get<WorkBatch>());
    if (what == "cancel") cancelled_.insert(message.at("job").get<std::string>());
    if (what == "stop") is_stopped_ = true;
  }

  void work_on(const WorkItem& job) {
    if (job.withdrawn || is_stopped_) return;
    say({{"is", "turn"}, {"job", job.id}});
    say({{"is", "begun"}, {"job", job.id}});
    const std::string prompt = job.fields.value("prompt", "");
    if (prompt.starts_with("hold")) hold(job);
    if (is_stopped_) return;
    if (cancelled_.contains(job.id)) {
      say({{"is", "failed"},
           {"job", job.id},
           {"kind", "cancelled"},
           {"errors", json::array()},
           {"text", "taken back"}});
      return;
    }
    const std::string text = "no video";
    {
      std::ofstream out(job.out + ".part");
      out << text;
    }
    std::filesystem::rename(job.out + ".part", job.out);
    say({{"is", "done"}, {"job", job.id}, {"seed", 7}, {"prompt", prompt}, {"seconds", 0.001}, {"bytes", text.size()}});
  }

  void hold(const WorkItem& job) {
    constexpr int kSteps = 1'000'000;
    for (int step = 0; step < kSteps && !is_stopped_ && !cancelled_.contains(job.id); ++step) {
      say({{"is", "progress"},
           {"job", job.id},
           {"stage", "denoise"},
           {"step", step},
           {"steps", kSteps},
           {"expert", "high"},
           {"seconds_left", kSteps - step}});
      say({{"is", "log"}, {"job", job.id}, {"level", "INFO"}, {"message", "step " + std::to_string(step)}});
      const auto end = Clock::now() + std::chrono::seconds(1);
      while (Clock::now() < end && !is_stopped_ && !cancelled_.contains(job.id)) {
        compute();
        listen(0);
      }
    }
  }

  /// Some milliseconds of arithmetic.
  static void compute() {
    static volatile double result = 1;
    double value = result;
    for (int i = 0; i < 2'000'000; ++i) value = value * 0.999999 + 1e-6;
    result = value;
  }

  std::string said_;
  std::deque<WorkBatch> batches_;
  std::set<std::string> cancelled_;
  bool is_stopped_ = false;
};

}  // namespace
}  // namespace wan::bench

int main() {
  try {
    return wan::bench::BenchWorker().run();
  } catch (const std::exception& error) {
    std::cerr << "wan-bench-worker: " << error.what() << "\n";
    return 1;
  }
}
