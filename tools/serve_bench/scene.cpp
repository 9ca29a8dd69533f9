#include "tools/serve_bench/scene.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSubmitPath = "/queue/fal-ai/wan/v2.2-a14b/text-to-video";
constexpr std::chrono::seconds kPatience{30};

void check_program(const fs::path& program, const std::string& name) {
  if (access(program.c_str(), X_OK) != 0)
    throw std::invalid_argument("[" + name + "] must be a program, got " + program.string() +
                                ", which is none; ./run build makes it");
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.find(':') + 2, line.size()));
  return "unknown";
}

/// The file system of a folder, as /proc/mounts calls it: the longest mount point that is above it.
std::string file_system(const fs::path& folder) {
  std::ifstream in("/proc/mounts");
  const std::string path = fs::canonical(folder).string() + "/";
  std::string found = "unknown", device, at, type, rest;
  for (size_t longest = 0; in >> device >> at >> type && std::getline(in, rest);) {
    const std::string below = at == "/" ? at : at + "/";
    if (path.starts_with(below) && below.size() >= longest) longest = below.size(), found = type;
  }
  return found;
}

/// The median time of a write of 4 KiB that is on the disk when it ends, in ms: what a durable answer takes at least.
double sync_milliseconds(const fs::path& folder) {
  const fs::path path = folder / "sync.bin";
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return 0;
  std::vector<double> times;
  const std::string page(4096, 'x');
  for (int i = 0; i < 50; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    if (pwrite(file, page.data(), page.size(), i * off_t(page.size())) < 0 || fdatasync(file) != 0) break;
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  close(file);
  fs::remove(path);
  return times.empty() ? 0 : summarise(times).median;
}

void sleep_shortly() {
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

Scene::Scene(const ServeOptions& options) : options_(options), cores_(choose_cores()) {
  check_program(options.programs / "wan-serve", "wan-serve");
  check_program(worker(), "worker");
  std::error_code failed;
  fs::create_directories(options.data, failed);
  std::string name = (fs::absolute(options.data) / "wan-bench-serve-XXXXXX").string();
  if (!mkdtemp(name.data()))
    throw std::invalid_argument("[data] must be a folder that can be written, got " + options.data.string() + ": " +
                                std::strerror(errno));
  folder_ = name;
  // It looks for its worker beside itself, by the name of the real one.
  fs::create_directory(folder_ / "bin");
  fs::create_directory(folder_ / "model");
  fs::copy_file(options.programs / "wan-serve", folder_ / "bin/wan-serve");
  fs::create_symlink(fs::canonical(worker()), folder_ / "bin/wan-engine");
}

Scene::~Scene() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

fs::path Scene::worker() const {
  return options_.worker.empty() ? options_.programs / "wan-bench-worker" : options_.worker;
}

std::unique_ptr<Program> Scene::serve(const std::string& data, int core) const {
  auto server = std::make_unique<Program>(
      std::vector<std::string>{folder_ / "bin/wan-serve", "--data", folder_ / data, "--model",
                               "t2v=" + (folder_ / "model").string(), "--device", "cpu", "--listen", "127.0.0.1:0",
                               "--least-free", "1MB", "--max-file", std::to_string(options_.upload) + "B"},
      core);
  server->on_own_end = [this](const std::string& how) { server_end_ = how; };
  return server;
}

std::unique_ptr<Program> Scene::serve_beside_worker(const std::string& data) const {
  std::unique_ptr<Program> server = serve(data, cores_.server);
  wait_for(server->port(), "/ready");
  const std::vector<pid_t> workers = children_of(server->process());
  if (workers.empty()) throw std::runtime_error("[worker] is not found among the processes of the server");
  for (const pid_t worker : workers)
    if (!move_process(worker, cores_.load, 10))
      throw std::runtime_error("[worker] cannot be moved to core " + std::to_string(cores_.load) + " at nice 10");
  return server;
}

std::map<std::string, std::string> serve_environment(const Scene& scene) {
  utsname system = {};
  uname(&system);
  char sync[32];
  std::snprintf(sync, sizeof sync, "%.3g", sync_milliseconds(scene.folder()));
  const std::string type = file_system(scene.folder());
  return {{"cpu", cpu_model()},
          {"cores", std::to_string(std::thread::hardware_concurrency())},
          {"kernel", system.release},
          {"file_system", type == "tmpfs" || type == "ramfs" ? type + ", which is memory and no disk" : type},
          {"sync_ms", sync},
          {"pinned", scene.cores().text()}};
}

std::string submit_text(uint16_t port, const std::string& prompt) {
  return request_text(port, "POST", kSubmitPath, "", nlohmann::json{{"prompt", prompt}, {"seed", 7}}.dump());
}

std::string id_in(const HttpAnswer& answer) {
  const nlohmann::json body = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !body.is_object() || !body.contains("request_id") || !body["request_id"].is_string())
    throw std::runtime_error("[submit] was answered " + std::to_string(answer.status) + ": " +
                             answer.body.substr(0, 200));
  return body["request_id"];
}

std::string status_path(const std::string& id) {
  return "/queue/fal-ai/wan/requests/" + id + "/status";
}

std::string hold_worker(uint16_t port) {
  const std::string id = id_in(Connection(port).ask(submit_text(port, std::string(kHold) + ": a fox in the snow")));
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const HttpAnswer answer = ask_once(port, "GET", status_path(id));
    if (answer.body.find("\"IN_PROGRESS\"") != std::string::npos) return id;
    if (answer.status != 202 || std::chrono::steady_clock::now() > end)
      throw std::runtime_error("[worker] must work on a job whose prompt begins with '" + std::string(kHold) +
                               "' until it is stopped; the status is " + answer.body.substr(0, 200));
    sleep_shortly();
  }
}

void wait_for(uint16_t port, const std::string& target) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const HttpAnswer answer = ask_once(port, "GET", target);
    if (answer.status == 200) return;
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error("[" + target + "] is answered " + std::to_string(answer.status) +
                               " for half a minute: " + answer.body.substr(0, 300));
    sleep_shortly();
  }
}

}  // namespace wan::bench
