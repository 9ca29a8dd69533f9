#include "engine/residency/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

std::optional<uint64_t> read_number(const fs::path& path) {
  std::ifstream in(path);
  uint64_t value;
  if (in >> value) return value;
  return std::nullopt;  // absent, or "max"
}

/// The sum of these keys of a memory.stat.
uint64_t stat_sum(const fs::path& path, const std::set<std::string>& keys) {
  std::ifstream in(path);
  uint64_t sum = 0, value;
  for (std::string key; in >> key >> value;)
    if (keys.contains(key)) sum += value;
  return sum;
}

/// How the files of one version are called.
struct Version {
  const char *mount, *limit, *used;
  std::set<std::string> cache;
};
const Version kSecond{"sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file", "active_file"}};
const Version kFirst{"sys/fs/cgroup/memory",
                     "memory.limit_in_bytes",
                     "memory.usage_in_bytes",
                     {"total_inactive_file", "total_active_file"}};

uint64_t headroom_of(const fs::path& group, const Version& version) {
  const auto limit = read_number(group / version.limit), used = read_number(group / version.used);
  if (!limit || !used) return kNone;
  const uint64_t held = *used - std::min(*used, stat_sum(group / "memory.stat", version.cache));
  return *limit - std::min(*limit, held);
}

/// The least of the group `path` and of those above it. A container may see its own group as the root, whatever the path
/// says.
uint64_t least_headroom(const fs::path& root, const Version& version, std::string path) {
  const fs::path mount = root / version.mount;
  uint64_t least = headroom_of(mount, version);
  for (; path.size() > 1; path = fs::path(path).parent_path().string())
    least = std::min(least, headroom_of(mount / path.substr(1), version));
  return least;
}

/// "NUMBER:CONTROLLERS:PATH" of a line of /proc/self/cgroup; version 2 has no controllers.
struct Group {
  std::string controllers, path;
};
std::optional<Group> parse_group(const std::string& line) {
  const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
  if (second == std::string::npos) return std::nullopt;
  return Group{line.substr(first + 1, second - first - 1), line.substr(second + 1)};
}

bool names_memory(const std::string& controllers) {
  return ("," + controllers + ",").find(",memory,") != std::string::npos;
}

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

uint64_t cgroup_headroom(const fs::path& root) {
  uint64_t least = std::min(headroom_of(root / kSecond.mount, kSecond), headroom_of(root / kFirst.mount, kFirst));
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto group = parse_group(line);
    if (!group) continue;
    if (group->controllers.empty()) least = std::min(least, least_headroom(root, kSecond, group->path));
    if (names_memory(group->controllers)) least = std::min(least, least_headroom(root, kFirst, group->path));
  }
  return least;
}

uint64_t host_available(const fs::path& root) {
  uint64_t available = kNone;
  std::ifstream in(root / "proc/meminfo");
  const std::string key = "MemAvailable:";
  for (std::string line; std::getline(in, line);) {
    std::istringstream rest(line.starts_with(key) ? line.substr(key.size()) : "");
    if (uint64_t kilobytes; rest >> kilobytes) available = kilobytes * 1024;
  }
  return std::min(available, cgroup_headroom(root));
}

bool display_on_nvidia(const fs::path& root) {
  std::error_code ignored;
  if (fs::exists(root / "dev/dxg", ignored)) return true;
  for (const auto& entry : fs::directory_iterator(root / "sys/class/drm", ignored)) {
    const std::string name = entry.path().filename().string();  // card0-DP-1
    const size_t dash = name.find('-');
    if (!name.starts_with("card") || dash == std::string::npos) continue;
    const fs::path card = entry.path().parent_path() / name.substr(0, dash);
    if (first_line(card / "device/vendor") == "0x10de" && first_line(entry.path() / "status") == "connected")
      return true;
  }
  return false;
}

std::string nvidia_name(const std::string& bus, const fs::path& root) {
  std::error_code ignored;
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(root / "proc/driver/nvidia/gpus", ignored)) {
    if (!bus.empty() && entry.path().filename() != bus) continue;
    std::ifstream in(entry.path() / "information");
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with("Model:")) continue;
      const size_t at = line.find_first_not_of(" \t", 6);
      if (at != std::string::npos) names.insert(line.substr(at));
    }
  }
  return names.size() == 1 ? *names.begin() : "";
}

}  // namespace wan
