// Configuring as a stranger's machine does it: without ccache, for one architecture alone, in a folder of its own, by
// the CMake that is here and by those that WAN_CMAKES names ("/a/cmake:/b/cmake"). Nothing is compiled but what CMake
// tries.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// A variable of this build's cache; empty where it has none.
std::string cached(const std::string& variable) {
  std::ifstream in(std::string(WAN_BINARY_DIR) + "/CMakeCache.txt");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(variable + ":")) return line.substr(line.find('=') + 1);
  return "";
}

std::vector<std::string> cmakes() {
  std::vector<std::string> all = {"cmake"};
  std::istringstream more(std::getenv("WAN_CMAKES") ? std::getenv("WAN_CMAKES") : "");
  for (std::string one; std::getline(more, one, ':');) all.push_back(one);
  return all;
}

class Configure : public testing::Test {
 protected:
  /// The build file that this CMake makes with these options beside those for any, and the warnings that it names.
  std::string build_file(const std::string& cmake, const std::string& options) {
    const TemporaryFolder folder;
    const std::string at = folder.path().string();
    const std::string command = cmake + " -G Ninja -S " WAN_SOURCE_DIR " -B " + at +
                                " -DWAN_CORE_ONLY=ON -DCCACHE=OFF -DTORCH_ROOT=" + cached("TORCH_ROOT") + " " +
                                options + " >" + at + "/said.txt 2>&1";
    const int status =
        std::system(("env -u CMAKE_CUDA_COMPILER_LAUNCHER -u CMAKE_CXX_COMPILER_LAUNCHER " + command).c_str());
    EXPECT_EQ(WEXITSTATUS(status), 0) << cmake << ", " << options << ":\n" << content(folder / "said.txt");
    return content(folder / "build.ninja") + content(folder / "CMakeFiles/rules.ninja") +
           content(folder / "warnings.txt");
  }
  /// Lines of the build file that hold `part`.
  static std::vector<std::string> lines(const std::string& text, const std::string& part) {
    std::vector<std::string> found;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
      if (line.find(part) != std::string::npos) found.push_back(line);
    return found;
  }
};

TEST_F(Configure, WithoutCcacheForOneArchitectureAlone) {
  const std::string nvcc = cached("CMAKE_CUDA_COMPILER");
  if (nvcc.empty()) GTEST_SKIP() << "built without nvcc";
  for (const std::string& cmake : cmakes()) {
    for (const std::string architecture : {"86", "90a"}) {  // one without 8-bit floats, and the one with wgmma
      SCOPED_TRACE(cmake + ", " + architecture);
      const std::string text =
          build_file(cmake, "-DCMAKE_CUDA_COMPILER=" + nvcc + " -DWAN_CUDA_ARCHITECTURES=" + architecture + "-real");
      const std::vector<std::string> launched = lines(text, "keep_report.sh");
      EXPECT_GE(launched.size(), 3u) << "three libraries of kernels";
      for (const std::string& line : launched) {
        const std::string behind = line.substr(line.find("keep_report.sh") + std::string("keep_report.sh").size());
        // A current CMake has it in a variable of its own, and nvcc in the command that begins with that.
        const bool alone = line.starts_with("  LAUNCHER = ") && behind.find_first_not_of(' ') == std::string::npos;
        EXPECT_TRUE(alone || behind.starts_with(" /")) << "nvcc's path is wanted behind it, got: " << line;
      }
      EXPECT_FALSE(lines(text, "arch=compute_" + architecture + ",code=[sm_" + architecture + "]").empty());
      EXPECT_FALSE(lines(text, "arch=compute_90a,code=[sm_90a]").empty()) << "wgmma is compiled for its own";
      const std::string eight = architecture == "86" ? "89" : architecture;
      EXPECT_FALSE(lines(text, "arch=compute_" + eight + ",code=[sm_" + eight + "]").empty()) << "8-bit floats";
    }
  }
}

// Compilers that we have not seen warn of other things: a user's build goes on.
TEST_F(Configure, WarningsAreErrorsWhereThatIsAskedForAlone) {
  const std::string users = build_file("cmake", "-DWAN_CUDA=OFF");
  EXPECT_FALSE(lines(users, "/warnings.txt").empty()) << "what is compiled reads the file";
  EXPECT_EQ(lines(users, "-Werror"), std::vector<std::string>());
  const std::string ours = build_file("cmake", "-DWAN_CUDA=OFF -DWAN_WARNINGS_ARE_ERRORS=ON");
  EXPECT_EQ(lines(ours, "-Werror"), std::vector<std::string>{"-Werror"});
}

// tools/gpu_check.sh builds with WAN_CORE_ONLY, as build_file configures.
TEST_F(Configure, HasEveryTargetThatTheCheckOnACardBuilds) {
  const std::string text = build_file("cmake", "-DWAN_CUDA=OFF");
  const std::string before = "--target ";
  const std::vector<std::string> builds = lines(content(WAN_SOURCE_DIR "/tools/gpu_check.sh"), before);
  ASSERT_EQ(builds.size(), 1u);
  std::istringstream targets(builds[0].substr(builds[0].find(before) + before.size()));
  int count = 0;
  for (std::string target; targets >> target; ++count)
    EXPECT_FALSE(lines(text, "build " + target + ": phony ").empty()) << target << " is no target of WAN_CORE_ONLY";
  EXPECT_GE(count, 2) << builds[0];
}

}  // namespace
}  // namespace wan
