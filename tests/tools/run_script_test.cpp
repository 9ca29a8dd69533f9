// What ./run decides to build, with programs that only play their parts: a CMake that notes what it was asked for.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEveryArchitecture =
    "WAN_CUDA_ARCHITECTURES=80-real;86-real;89-real;90a-real;100-real;120-real;120-virtual";

/// A copy of ./run beside a tool chain that is complete but for nvcc.
class RunScript : public testing::Test {
 protected:
  RunScript() {
    fs::copy_file(fs::path(WAN_SOURCE_DIR) / "run", folder_ / "run");
    for (const char* part : {"site-packages/nvidia/cu13/lib", "site-packages/torch"})
      fs::create_directories(folder_ / "deps/venv/lib/python3.11" / part);
    for (const char* set : {"light", "full"}) std::ofstream(folder_ / "deps" / (std::string(set) + "-2.11.0"));
    std::ofstream(folder_ / "deps/venv/lib/python3.11/site-packages/nvidia/cu13/lib/libcudart.so.13");
    program("deps/venv/bin/python3", "true");
    program("deps/venv/bin/pip", "echo \"$@\" >>" + path("pip.txt"));
    program("bin/dpkg-query", "echo installed");
    card("exit 1");
    ninja("echo '[1/1] one'");
  }

  /// What nvidia-smi does.
  void card(const std::string& body) { program("bin/nvidia-smi", body); }

  /// A Linux with NVIDIA's driver of this version.
  void driver(const std::string& version) {
    fs::create_directories(folder_ / "system/proc/driver/nvidia");
    std::ofstream(folder_ / "system/proc/driver/nvidia/version")
        << "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " << version
        << "  Sat Aug 19 01:15:15 UTC 2023\nGCC version:\n";
  }
  /// Windows' Linux: the driver's programs are in a folder of their own.
  void below_windows(const std::string& nvidia_smi) {
    fs::create_directories(folder_ / "system/dev");
    std::ofstream(folder_ / "system/dev/dxg");
    fs::remove(folder_ / "bin/nvidia-smi");
    program("system/usr/lib/wsl/lib/nvidia-smi", nvidia_smi);
  }

  /// CMake: configuring keeps its options as the cache does, building does `body`.
  void ninja(const std::string& body) {
    program("bin/cmake",
            "if [ \"$1\" = --build ]; then " + body + "; exit; fi\necho \"$@\" >>" + path("cmake.txt") +
                "\nmkdir -p build/$2; touch build/$2/build.ninja; echo '-- linker: mold'\n"
                "for word; do case $word in -D*) word=${word#-D}; echo \"${word%%=*}:STRING=${word#*=}\";; "
                "esac; done >build/$2/CMakeCache.txt\n"
                "echo \"CMAKE_HOME_DIRECTORY:INTERNAL=$PWD\" >>build/$2/CMakeCache.txt");
  }

  /// The checkout is elsewhere from now on; what it needs of the machine is not.
  void move_checkout() {
    fs::create_directories(folder_ / "elsewhere");
    for (const char* part : {"run", "build"}) fs::rename(folder_ / part, folder_ / "elsewhere" / part);
    checkout_ = "elsewhere/";
  }

  int run(const std::string& words) {
    const std::string command = "PATH=" + path("bin") + ":$PATH WAN_SYSTEM=" + path("system") +
                                " WAN_DEPS=" + path("deps") + " bash " + path(checkout_ + "run") + " " + words + " 2>" +
                                path("err.txt");
    fs::remove(folder_ / "cmake.txt");
    const int status = std::system(command.c_str());
    err_ = read("err.txt");
    return WEXITSTATUS(status);
  }

  /// What CMake was told when it configured; empty where it was not asked.
  std::string configured() const { return read("cmake.txt"); }
  std::string installed() const { return read("pip.txt"); }

  static bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

  std::string err_;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string read(const std::string& name) const {
    return fs::exists(folder_ / name) ? content(folder_ / name) : std::string();
  }
  void program(const std::string& name, const std::string& body) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }

  TemporaryFolder folder_;
  std::string checkout_;
};

TEST_F(RunScript, WithoutACardNoKernelsNoTestsAndNoCompilerForThem) {
  ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA=OFF")) << configured();
  EXPECT_TRUE(holds(configured(), "-DWAN_TESTS=OFF")) << configured();
  EXPECT_TRUE(holds(configured(), "-DWAN_WARNINGS_ARE_ERRORS=OFF")) << configured();
  EXPECT_EQ(installed(), "");
  ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
  EXPECT_EQ(configured(), "") << "the second time nothing has changed";
}

TEST_F(RunScript, ABuildWithNothingToDoSaysSo) {
  ninja("echo '[0/2] Re-checking globbed directories...'; echo 'ninja: no work to do.'");
  ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(err_, "nothing to build")) << err_;
  EXPECT_FALSE(holds(err_, "stopped at")) << err_;
  ninja("echo '[0/3] Re-checking globbed directories...'; echo '[2/3] two'; echo '[3/3] three'");
  ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(err_, "built 3 of 3")) << err_;
}

TEST_F(RunScript, AUsersBuildFailsOnNoWarning) {
  ASSERT_EQ(run("--preset release build"), 0) << err_;  // no program is named
  EXPECT_TRUE(holds(configured(), "-DWAN_WARNINGS_ARE_ERRORS=OFF")) << configured();
}

TEST_F(RunScript, ACardsKernelsAreBuiltForItAlone) {
  card("echo 9.0");
  ASSERT_EQ(run("--cuda build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=90a-real ")) << configured();
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA=ON")) << configured();
  EXPECT_TRUE(holds(installed(), "nvidia-cuda-nvcc==")) << installed();
  card("echo 9.0; echo 8.9; echo 8.9");  // another card is added
  ASSERT_EQ(run("--cuda build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=90a-real;89-real ")) << configured();
}

TEST_F(RunScript, CardsOfOneGenerationShareTheirCode) {
  card("echo 10.3; echo 10.0; echo 8.6; echo 8.7; echo 13.0");
  ASSERT_EQ(run("--cuda build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=86-real;100-real;120-virtual ")) << configured();
}

TEST_F(RunScript, ACardThatIsTooOldHasNoKernels) {
  card("echo 7.5");
  ASSERT_EQ(run("--cuda build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA=OFF")) << configured();
}

TEST_F(RunScript, AnImageForOtherMachinesHasEveryArchitecture) {
  ASSERT_EQ(run("--cuda build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), kEveryArchitecture)) << configured();
}

// The words are the Dockerfile's.
TEST_F(RunScript, AnImageIsBuiltForEveryCardAndFailsOnNoWarning) {
  const std::string text = content(fs::path(WAN_SOURCE_DIR) / "Dockerfile");
  const size_t at = text.find("./run ");
  ASSERT_NE(at, std::string::npos);
  const size_t begin = at + std::string("./run ").size();
  ASSERT_EQ(run(text.substr(begin, text.find(" &&", at) - begin)), 0) << err_;
  EXPECT_TRUE(holds(configured(), kEveryArchitecture)) << configured();
  EXPECT_TRUE(holds(configured(), "-DWAN_WARNINGS_ARE_ERRORS=OFF")) << configured();
}

TEST_F(RunScript, TestsHaveEveryArchitectureAndAProgramAfterwardsKeepsThem) {
  for (const char* words : {"--preset release build --all", "--preset release build kernels_tests"}) {
    ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
    ASSERT_EQ(run(words), 0) << err_;
    if (!configured().empty()) {
      EXPECT_TRUE(holds(configured(), kEveryArchitecture)) << configured();
      EXPECT_TRUE(holds(configured(), "-DWAN_TESTS=ON")) << configured();
      EXPECT_TRUE(holds(configured(), "-DWAN_WARNINGS_ARE_ERRORS=ON")) << configured();
    }
    ASSERT_EQ(run("--preset release build wan-engine"), 0) << err_;
    EXPECT_TRUE(holds(configured(), kEveryArchitecture)) << configured();
    EXPECT_TRUE(holds(configured(), "-DWAN_TESTS=ON")) << configured();
    EXPECT_TRUE(holds(configured(), "-DWAN_WARNINGS_ARE_ERRORS=OFF")) << configured();
  }
}

TEST_F(RunScript, ADriverThatIsTooOldIsToldBeforeAnythingIsFetched) {
  driver("535.104.05");
  card("echo 9.0");
  EXPECT_EQ(run("build wan-engine"), 1);
  EXPECT_TRUE(holds(err_, "the NVIDIA driver 535.104.05 is older than 580")) << err_;
  EXPECT_TRUE(holds(err_, "./run --preset release build computes on the CPU")) << err_;
  EXPECT_EQ(configured() + installed(), "");
  EXPECT_EQ(run("--preset release build wan-engine"), 0) << err_;
  EXPECT_EQ(run("--cuda build wan-engine"), 0) << "for another machine: " << err_;
  driver("580.65.06");
  EXPECT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(err_, "built 1 of 1")) << err_;
}

TEST_F(RunScript, CardsThatLibtorchHasNoCodeForAreTold) {
  driver("580.65.06");
  card("echo 6.1; echo 5.2");
  EXPECT_EQ(run("build wan-engine"), 1);
  EXPECT_TRUE(holds(err_, "the cards here have compute capability 6.1")) << err_;
  card("echo 6.1; echo 7.5");
  EXPECT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA=OFF")) << "libtorch runs there, our kernels do not: " << configured();
}

TEST_F(RunScript, BelowWindowsTheDriverIsFoundInItsOwnFolder) {
  below_windows("case \"$*\" in *driver_version*) echo 581.29;; *) echo 8.9;; esac");
  ASSERT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=89-real ")) << configured();
  below_windows("case \"$*\" in *driver_version*) echo 551.86;; *) echo 8.9;; esac");
  EXPECT_EQ(run("build wan-engine"), 1);
  EXPECT_TRUE(holds(err_, "driver 551.86 is older than 580")) << err_;
}

TEST_F(RunScript, WhatADriverDoesNotTellIsNoNumber) {
  driver("580.65.06");
  card("echo '[N/A]'");
  EXPECT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), kEveryArchitecture)) << configured();
  EXPECT_FALSE(holds(err_, "expected")) << err_;  // bash's word for what it does not compare
}

TEST_F(RunScript, OfSeveralCardsThoseThatTellTheirCapabilityCount) {
  driver("580.65.06");
  card("echo 9.0; echo '[N/A]'");
  EXPECT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=90a-real ")) << configured();
}

TEST_F(RunScript, BelowWindowsAVersionThatIsNoNumberStopsNothing) {
  below_windows("case \"$*\" in *driver_version*) echo '[N/A]';; *) echo 8.9;; esac");
  EXPECT_EQ(run("build wan-engine"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_CUDA_ARCHITECTURES=89-real ")) << configured();
  EXPECT_FALSE(holds(err_, "expected")) << err_;
}

TEST_F(RunScript, ACheckoutThatWasMovedIsBuiltAnew) {
  ASSERT_EQ(run("build"), 0) << err_;
  ASSERT_EQ(run("build"), 0) << err_;
  EXPECT_EQ(configured(), "") << "it was configured for this folder";
  move_checkout();
  ASSERT_EQ(run("build"), 0) << err_;
  EXPECT_TRUE(holds(configured(), "-DWAN_TESTS=OFF")) << configured();
  EXPECT_TRUE(holds(err_, "was configured for another folder")) << err_;
}

// After an upgrade of the system: the programs of the virtual environment are links to what is no longer there.
TEST_F(RunScript, AnEnvironmentOfAnotherPythonIsMadeAnew) {
  program("deps/venv/bin/python3", "exit 127");
  program("bin/python3",
          "mkdir -p $3/bin $3/lib/python3.13/site-packages/nvidia/cu13/lib; touch "
          "$3/lib/python3.13/site-packages/nvidia/cu13/lib/libcudart.so.13\n"
          "printf '#!/bin/sh\\necho \"$@\" >>" +
              path("pip.txt") + "\\n' >$3/bin/pip; chmod +x $3/bin/pip");
  ASSERT_EQ(run("build"), 0) << err_;
  EXPECT_TRUE(holds(err_, "it is made anew")) << err_;
  EXPECT_TRUE(holds(installed(), "torch==2.11.0")) << installed();
}

TEST_F(RunScript, ShowsHowFarItIsInFewLines) {
  ninja("i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo \"[$i/300] Building x$i\"; done");
  ASSERT_EQ(run("--preset release build"), 0) << err_;
  EXPECT_TRUE(holds(err_, "built 300 of 300 in ")) << err_;
  EXPECT_TRUE(holds(err_, "linking with mold")) << err_;
  EXPECT_LT(std::count(err_.begin(), err_.end(), '\n'), 6) << err_;
}

TEST_F(RunScript, AFailureIsShownAlone) {
  ninja("echo '[1/3] fine'; echo 'a warning'; echo '[2/3] bad'; echo 'FAILED: bad.o'; echo 'bad.cpp:1: error'; exit 1");
  EXPECT_EQ(run("--preset release build"), 1);
  EXPECT_TRUE(holds(err_, "FAILED: bad.o\nbad.cpp:1: error\n")) << err_;
  EXPECT_FALSE(holds(err_, "a warning")) << err_;
  EXPECT_TRUE(holds(err_, "build.log")) << err_;
}

}  // namespace
}  // namespace wan
