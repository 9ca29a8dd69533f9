// Machines in a user's words, and what this one says of itself.
#include "engine/residency/machine.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/residency/host_memory.h"
#include "engine/residency/probed_machine.h"
#include "tests/support/plans.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// The refusal of one field; empty where the words are taken.
std::string refused(const MachineWords& words, const std::string& field) {
  try {
    check_words(words);
  } catch (const InvalidRequest& invalid) {
    for (const FieldError& error : invalid.errors)
      if (error.field == field) return error.wrong;
  }
  return "";
}

TEST(Units, SizesAndSpeeds) {
  EXPECT_EQ(read_size("24GB"), 24'000'000'000u);
  EXPECT_EQ(read_size("24GiB"), uint64_t(24) << 30);
  EXPECT_EQ(read_size("1.5 gb"), 1'500'000'000u);
  EXPECT_EQ(read_size("700 MB"), 700'000'000u);
  EXPECT_EQ(read_size("512kib"), 524'288u);
  EXPECT_EQ(read_size("7B"), 7u);
  EXPECT_EQ(read_size("0GB"), 0u);
  for (const char* wrong : {"", "24", "GB", "-1GB", "-0GB", "24GBs", "24 G B", "1e30TB", "nanGB", "infGB", "24GB/s",
                            "0x10GB", "99999999999TB"})
    EXPECT_FALSE(read_size(wrong)) << wrong;
  EXPECT_EQ(read_rate("25GB/s"), 25e9);
  EXPECT_EQ(read_rate("500 MB/s"), 500e6);
  for (const char* wrong : {"25GB", "GB/s", "/s", "s", "", "-3GB/s", "25GB/S/s"})
    EXPECT_FALSE(read_rate(wrong)) << wrong;
  EXPECT_EQ(rate_text(25e9), "25 GB/s");
  EXPECT_EQ(rate_text(0.7e9), "700 MB/s");
}

TEST(Machine, TheMarginIsAShareAndMoreBesideADisplay) {
  EXPECT_EQ(budget_of(20'000'000'000, false), 18'300'000'000u);
  EXPECT_EQ(budget_of(20'000'000'000, true), 17'500'000'000u);
  EXPECT_EQ(budget_of(500'000'000, false), 0u);
  EXPECT_EQ(budget_of(0, true), 0u);
}

TEST(Machine, CardsAreFoundByAnyOfTheirNames) {
  for (const char* name : {"4090", "rtx 4090", "RTX-4090", "NVIDIA GeForce RTX 4090"}) {
    ASSERT_TRUE(card_named(name)) << name;
    EXPECT_STREQ(card_named(name)->name, "RTX 4090");
  }
  EXPECT_STREQ(card_named("NVIDIA H100 80GB HBM3")->name, "H100");
  EXPECT_STREQ(card_named("NVIDIA A100-SXM4-40GB")->name, "A100 40GB");
  EXPECT_STREQ(card_named("NVIDIA A100-SXM4-80GB")->name, "A100 80GB");
  EXPECT_STREQ(card_named("NVIDIA RTX 6000 Ada Generation")->name, "RTX 6000 Ada");
  for (const char* none : {"", "24GB", "40GB", "4", "40900", "A100", "NVIDIA", "Radeon", "A10G"})
    EXPECT_FALSE(card_named(none)) << none;
  EXPECT_STREQ(card_of_size(12'000'000'000).name, "RTX 4070");
  EXPECT_STREQ(card_of_size(24'000'000'000).name, "RTX 4090");
  EXPECT_STREQ(card_of_size(80'000'000'000).name, "H100");
  EXPECT_STREQ(card_of_size(1'000'000'000'000).name, "B200");
}

TEST(Machine, WordsTakeThePlaceOfWhatIsHere) {
  Machine here = plans::card(10'000'000'000, "RTX 3060");
  here.has_display = true;
  const Machine named = described({.gpu = "4090"}, here);
  EXPECT_EQ(named.device, "RTX 4090");
  EXPECT_EQ(named.device_free, uint64_t(24564) << 20);
  EXPECT_EQ(named.budget, budget_of(uint64_t(24564) << 20, false));
  EXPECT_EQ(named.link, 22e9);
  EXPECT_EQ(named.host_available, here.host_available);
  EXPECT_TRUE(named.described);
  const Machine size = described({.gpu = "24GB", .host = "32GB", .link = "25GB/s", .disk = "3.5GB/s"}, here);
  EXPECT_EQ(size.device, "card of 24.00 GB");
  EXPECT_EQ(size.device_total, 24'000'000'000u);
  EXPECT_EQ(size.linear, named.linear);
  EXPECT_EQ(size.host_available, 32'000'000'000u);
  EXPECT_EQ(size.host_pinnable, 16'000'000'000u);
  EXPECT_EQ(size.link, 25e9);
  EXPECT_EQ(size.disk, 3.5e9);
  ASSERT_EQ(size.assumed.size(), 1u);  // how fast it computes
  EXPECT_EQ(size.assumed[0], "the card computes as fast as RTX 4090; --gpu takes a name, too");
  here.disk = 0;
  const Machine same = described({}, here);
  EXPECT_FALSE(same.described);
  EXPECT_EQ(same.device, here.device);
  EXPECT_EQ(same.assumed, std::vector<std::string>{"the disk reads 2 GB/s; --disk says otherwise"});
}

TEST(Machine, BadWordsAreRefusedEachWithAWayOut) {
  EXPECT_EQ(refused({.gpu = "0GB"}, "gpu"),
            "must be a size from 1.00 GB to 10 TB, got '0GB'; 24GB is 24 * 10^9 bytes, 24GiB is 24 * 2^30");
  EXPECT_TRUE(refused({.gpu = "-24GB"}, "gpu").starts_with("must be a size such as 24GB, or RTX 4070, ")) << "negative";
  EXPECT_TRUE(refused({.gpu = "24"}, "gpu").starts_with("must be a size such as 24GB, or "));
  EXPECT_TRUE(refused({.gpu = "900TB"}, "gpu").starts_with("must be a size from 1.00 GB to 10 TB"));
  EXPECT_EQ(refused({.link = "0GB/s"}, "link"),
            "must be a speed from 1MB/s to 10TB/s, got '0GB/s'; 25GB/s is what PCIe 4 with 16 lanes reaches");
  EXPECT_NE(refused({.link = "25"}, "link"), "");
  EXPECT_NE(refused({.disk = "-3GB/s"}, "disk"), "");
  EXPECT_NE(refused({.host = "1MB"}, "host"), "");
  try {
    check_words({.gpu = "x", .host = "x", .link = "x", .disk = "x"});
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.size(), 4u);
  }
  EXPECT_NO_THROW(check_words({}));
}

/// A root of a system, made of small files.
struct System {
  fs::path root = fs::temp_directory_path() / ("wan-system-" + std::to_string(::getpid()));
  System() { fs::remove_all(root); }
  ~System() { fs::remove_all(root); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
};

TEST(HostMemory, TheTightestControlGroupCounts) {
  System system;
  EXPECT_EQ(cgroup_headroom(system.root), UINT64_MAX);
  system.write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable:   60000000 kB\n");
  EXPECT_EQ(host_available(system.root), 61'440'000'000u);
  system.write("proc/self/cgroup", "0::/user.slice/job.scope\n");
  system.write("sys/fs/cgroup/user.slice/memory.max", "32000000000\n");
  system.write("sys/fs/cgroup/user.slice/memory.current", "10000000000\n");
  system.write("sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 3000000000\nactive_file 1000000000\n");
  EXPECT_EQ(cgroup_headroom(system.root), 26'000'000'000u);  // 32 - (10 - 4)
  system.write("sys/fs/cgroup/user.slice/job.scope/memory.max", "8000000000\n");
  system.write("sys/fs/cgroup/user.slice/job.scope/memory.current", "1000000000\n");
  EXPECT_EQ(cgroup_headroom(system.root), 7'000'000'000u);
  system.write("sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n");
  EXPECT_EQ(host_available(system.root), 26'000'000'000u);
  system.write("sys/fs/cgroup/memory.max", "5000000000\n");  // what a container sees as the root
  system.write("sys/fs/cgroup/memory.current", "9000000000\n");
  EXPECT_EQ(host_available(system.root), 0u);
}

TEST(HostMemory, VersionOneOfControlGroupsCountsToo) {
  System system;
  system.write("proc/self/cgroup", "11:cpu,cpuacct:/other\n4:hugetlb,memory:/docker/abc\n0::/\nbroken line\n");
  system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  system.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n");
  system.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "16000000000\n");
  system.write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "12000000000\n");
  system.write("sys/fs/cgroup/memory/docker/abc/memory.stat", "cache 9\ntotal_inactive_file 2000000000\n");
  EXPECT_EQ(cgroup_headroom(system.root), 6'000'000'000u);
}

TEST(HostMemory, ADisplayIsSeenOnNvidiaCardsAlone) {
  System system;
  EXPECT_FALSE(display_on_nvidia(system.root));
  system.write("sys/class/drm/card0/device/vendor", "0x8086\n");
  system.write("sys/class/drm/card0-HDMI-A-1/status", "connected\n");
  system.write("sys/class/drm/card1/device/vendor", "0x10de\n");
  system.write("sys/class/drm/card1-DP-1/status", "disconnected\n");
  EXPECT_FALSE(display_on_nvidia(system.root));
  system.write("sys/class/drm/card1-DP-2/status", "connected\n");
  EXPECT_TRUE(display_on_nvidia(system.root));
  System windows;
  fs::remove_all(windows.root);
  windows.write("dev/dxg", "");
  EXPECT_TRUE(display_on_nvidia(windows.root));
}

TEST(HostMemory, TheDriverNamesTheCard) {
  System system;
  EXPECT_EQ(nvidia_name("", system.root), "");
  system.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ: 4\n");
  EXPECT_EQ(nvidia_name("", system.root), "NVIDIA GeForce RTX 4090");
  system.write("proc/driver/nvidia/gpus/0000:02:00.0/information", "Model: \t\t NVIDIA RTX A6000\n");
  EXPECT_EQ(nvidia_name("", system.root), "");  // which of them is not told
  EXPECT_EQ(nvidia_name("0000:02:00.0", system.root), "NVIDIA RTX A6000");
}

TEST(HostMemory, OfThisMachine) {
  EXPECT_GT(host_available(), 100'000'000u);
  EXPECT_LT(host_available(), 100'000'000'000'000u);
}

TEST(ProbedMachine, OfOneThreadHasOneThread) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Machine machine = probed_machine(Placement(), /*measure=*/false);
  at::set_num_threads(threads);
  ASSERT_FALSE(machine.assumed.empty());
  EXPECT_TRUE(machine.assumed.back().ends_with(" GFLOP/s on 1 thread")) << machine.assumed.back();
}

}  // namespace
}  // namespace wan
