// What the check on a GPU makes of a sanitizer that runs out of time, with programs that only play their parts.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// Runs tools/gpu_check.sh where building and testing always succeed but for wgmma's tests, if `wgmma` says so, and a
/// sanitizer prints `line` and never ends. The bench prints what it is told of wgmma.
class GpuCheck : public testing::Test {
 protected:
  int run(const std::string& line, const std::string& wgmma = "exit 0") {
    for (const char* name : {"cmake", "nvcc", "nvidia-smi"}) program("bin/" + std::string(name), "exit 0");
    program("bin/python3", "echo " + folder_.path().string());
    program("bin/compute-sanitizer", "echo '" + line + "'; exec sleep 30");
    for (const char* part : {"kernels", "models", "parity"})
      program("build/tests/" + std::string(part) + "_tests", "exit 0");
    program("build/tests/gpu_tests", "case \"$*\" in *=WgmmaGpu*) " + wgmma + ";; esac");
    program("build/tools/wan-bench", "echo WAN_WGMMA=$WAN_WGMMA.");
    const std::string at = folder_.path().string();
    const std::string command = "PATH=" + at + "/bin:$PATH WAN_GPU_BUILD=" + at +
                                "/build bash " WAN_SOURCE_DIR
                                "/tools/gpu_check.sh --architectures 80 --suites ops --seconds 8 " +
                                at + "/out 2>/dev/null";
    const int status = std::system(command.c_str());
    log_ = content(folder_ / "out/log.txt");
    bench_ = content(folder_ / "out/bench-ops.txt");
    return WEXITSTATUS(status);
  }

  std::string log_, bench_;

 private:
  void program(const std::string& name, const std::string& body) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }

  TemporaryFolder folder_;
};

TEST_F(GpuCheck, WhatASanitizerFoundBeforeItsTimeEndedIsAFailure) {
  EXPECT_EQ(run("========= Invalid __global__ read of size 4 bytes"), 1) << log_;
  EXPECT_NE(log_.find("sanitizer-memcheck ended with 124"), std::string::npos) << log_;
  EXPECT_NE(log_.find("sanitizer-racecheck ended with 124"), std::string::npos) << log_;
}

TEST_F(GpuCheck, ASanitizerThatHadNoTimeIsNone) {
  EXPECT_EQ(run("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"), 0) << log_;
  EXPECT_NE(log_.find("sanitizer-memcheck: its time ended first"), std::string::npos) << log_;
}

TEST_F(GpuCheck, WhatFailsWithWgmmaIsNotMeasured) {
  const std::string nothing = "========= ERROR SUMMARY: 0 errors";
  EXPECT_EQ(run(nothing), 0) << log_;
  EXPECT_EQ(bench_, "WAN_WGMMA=.\n");
  EXPECT_EQ(run(nothing, "exec sleep 30"), 1) << log_;
  EXPECT_EQ(bench_, "WAN_WGMMA=off.\n");
  EXPECT_NE(log_.find("test-wgmma ended with 124"), std::string::npos) << log_;
}

}  // namespace
}  // namespace wan
