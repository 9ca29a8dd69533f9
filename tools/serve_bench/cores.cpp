#include "tools/serve_bench/cores.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace wan::bench {
namespace {

cpu_set_t only(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(size_t(core), &set);
  return set;
}

}  // namespace

std::string Cores::text() const {
  if (is_shared()) return "one core for all: there is no other";
  return "server on core " + std::to_string(server) + ", load and worker on core " + std::to_string(load);
}

Cores choose_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Cores cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  int found = 0;
  for (int core = 0; core < CPU_SETSIZE && found < 2; ++core) {
    if (!CPU_ISSET(size_t(core), &set)) continue;
    if (found++ == 0) cores.server = core;
    cores.load = core;
  }
  return cores;
}

OnCore::OnCore(int core) {
  const cpu_set_t set = only(core);
  CPU_ZERO(&before_);
  if (sched_getaffinity(0, sizeof before_, &before_) != 0 || sched_setaffinity(0, sizeof set, &set) != 0)
    throw std::runtime_error("[core " + std::to_string(core) + "] cannot be chosen: " + std::strerror(errno));
}

OnCore::~OnCore() {
  sched_setaffinity(0, sizeof before_, &before_);
}

bool move_process(pid_t process, int core, int niceness) {
  const cpu_set_t set = only(core);
  bool moved = false;
  std::error_code gone;
  const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    const pid_t thread = std::stoi(task.path().filename());
    moved = sched_setaffinity(thread, sizeof set, &set) == 0 && setpriority(PRIO_PROCESS, id_t(thread), niceness) == 0;
    if (!moved) return false;
  }
  return moved;
}

}  // namespace wan::bench
