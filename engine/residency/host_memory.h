// Host memory that a job may still take, under the limits of control groups.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace wan {

/// What the process's control groups leave, of version 2 and of version 1: the least over its group and those above it
/// of limit less use, page cache not counted as used. 2^64 - 1 where nothing limits it. `root` stands for "/".
uint64_t cgroup_headroom(const std::filesystem::path& root = "/");

/// MemAvailable of /proc/meminfo, at most what the groups leave. 2^64 - 1 where neither is known.
uint64_t host_available(const std::filesystem::path& root = "/");

/// Whether a monitor hangs on an NVIDIA card: a connector of one is connected (/sys/class/drm), or the system is Windows'
/// own (/dev/dxg), which draws on the card itself.
bool display_on_nvidia(const std::filesystem::path& root = "/");

/// The name of the NVIDIA card with this place on the bus ("0000:65:00.0"), or of the only kind that is there where `bus`
/// is empty, from /proc/driver/nvidia/gpus; empty where it is not told.
std::string nvidia_name(const std::string& bus, const std::filesystem::path& root = "/");

}  // namespace wan
