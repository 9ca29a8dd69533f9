// What the check on a GPU leaves behind, however it ends: with programs that only play their parts.
#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScript = WAN_SOURCE_DIR "/tools/gpu_check.sh";

class GpuCheck : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void program(const std::string& name, const std::string& body) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }
  /// The exit code of these words in a shell; what they print is in err_.
  int shell(const std::string& words) {
    const int status = std::system(("{ " + words + "\n} >" + path("err.txt") + " 2>&1").c_str());
    err_ = content(folder_ / "err.txt");
    return WEXITSTATUS(status);
  }
  int rehearse(const std::string& environment, const std::string& options) {
    return shell(environment + " bash " + kScript + " --rehearse " + options + " " + path("out"));
  }
  /// What became of a part; empty where the plan does not name it.
  std::string state(const std::string& part) const {
    const auto plan = nlohmann::json::parse(content(folder_ / "out/plan.json"));
    for (const auto& one : plan.at("parts"))
      if (one.at("name") == part) return one.at("state");
    return "";
  }
  /// Whether the tar holds this file.
  bool packed(const std::string& file) {
    return shell("tar -tzf " + path("out/results.tar.gz") + " | grep -qx ./" + file) == 0;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) names.push_back(entry.path().filename());
    return names;
  }
  /// Names of the parts, in the script's order.
  std::vector<std::string> parts() {
    shell(std::string("bash ") + kScript + " --list");
    std::vector<std::string> names;
    std::istringstream lines(err_);
    for (std::string line; std::getline(lines, line);) names.push_back(line.substr(0, line.find('|')));
    return names;
  }

  TemporaryFolder folder_;
  std::string err_;
};

TEST_F(GpuCheck, ARehearsalPlaysEveryPartAndLeavesFewFiles) {
  ASSERT_EQ(rehearse("", ""), 0) << err_;
  for (const std::string& part : parts()) {
    EXPECT_EQ(state(part), "done") << part;
    EXPECT_TRUE(packed(part + ".txt")) << part;
  }
  EXPECT_EQ(parts().size(), 14u);
  EXPECT_LE(files().size(), 8u);
  for (const char* json : {"plan", "step-720p", "ops-720p", "vae", "diffusers", "mlperf"})
    EXPECT_TRUE(fs::exists(folder_ / "out" / (std::string(json) + ".json")) && packed(std::string(json) + ".json"))
        << json;
  for (const char* file : {"ops-vae.json", "profile.json", "profile.trace"})  // beside the eight
    EXPECT_TRUE(packed(file)) << file;
}

TEST_F(GpuCheck, WhatIsWorthMostComesFirst) {
  const std::vector<std::string> all = parts();
  const auto place_of = [&](const std::string& part) { return std::find(all.begin(), all.end(), part) - all.begin(); };
  const char* const figures[] = {"step-720p", "ops-720p", "vae", "ops-vae", "step-480p", "diffusers", "last-rows"};
  for (size_t i = 1; i < std::size(figures); ++i) {
    EXPECT_LT(place_of(figures[i - 1]), place_of(figures[i])) << figures[i];
  }
  for (const char* sanitizer : {"memcheck", "racecheck"}) {
    EXPECT_LT(place_of("last-rows"), place_of(sanitizer)) << "instrumented kernels are some tens of times slower";
  }
  // Programs that were built elsewhere: within the 540 s of a call by default a whole forward is measured.
  int seconds = 0;
  std::istringstream lines(err_);
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find('|'));
    if (name != "build") seconds += std::stoi(line.substr(line.find('|') + 1));
    if (name == "step-720p") break;
  }
  EXPECT_GT(seconds, 0);
  EXPECT_LE(seconds, 540);
}

TEST_F(GpuCheck, KilledAtAnyPartItLeavesWhatCameBefore) {
  for (const std::string& part : parts()) {
    const std::string before = part == "step-480p" ? "vae" : "step-480p";
    const bool asked = part == "vae" || part == "racecheck";  // these by a signal that can be caught
    fs::remove_all(folder_ / "out");
    const std::string begun = "'\"" + part + "\", \"state\": \"begun\"' " + path("out/plan.json");
    const std::string first = part == "build" ? "" : before;  // before the build there is nothing
    shell("WAN_REHEARSE_HANG=" + part + " setsid bash " + kScript + " --rehearse --parts '" + first + " " + part +
          " last-rows' " + path("out") + " & p=$!; for i in $(seq 1200); do grep -q " + begun +
          " && break; sleep 0.1; done; kill -" + (asked ? "TERM" : "KILL") + " -$p; wait $p");
    EXPECT_EQ(state(part), asked ? "stopped" : "begun") << err_;
    EXPECT_EQ(state("last-rows"), part == "last-rows" ? "begun" : "") << part;
    if (first.empty()) continue;
    EXPECT_EQ(state(before), "done") << part;
    EXPECT_TRUE(packed(before + ".json") && packed(before + ".txt") && packed("plan.json")) << part;
    EXPECT_TRUE(fs::exists(folder_ / "out" / (before + ".json"))) << part;
  }
}

TEST_F(GpuCheck, APartThatFailsOrHangsEndsAlone) {
  EXPECT_EQ(rehearse("WAN_REHEARSE_FAIL='gpu-tests vae'", "--parts 'gpu-tests vae step-480p'"), 1) << err_;
  EXPECT_EQ(state("gpu-tests"), "failed with 3");
  EXPECT_EQ(state("vae"), "failed with 3");
  EXPECT_EQ(state("step-480p"), "done");
  EXPECT_EQ(rehearse("WAN_REHEARSE_HANG=vae", "--seconds 15 --parts 'vae last-rows'"), 1) << err_;
  EXPECT_EQ(state("vae"), "time ended");
  EXPECT_EQ(state("last-rows"), "not begun");
  EXPECT_EQ(state("step-480p"), "done") << "of the call before";
  EXPECT_TRUE(packed("step-480p.json"));
}

TEST_F(GpuCheck, WrongOptionsAreNamed) {
  EXPECT_EQ(rehearse("", "--parts stepp"), 2);
  EXPECT_NE(err_.find("--parts must be of build gpu-tests"), std::string::npos) << err_;
  EXPECT_EQ(rehearse("", "--seconds many"), 2);
  EXPECT_EQ(rehearse("", "--suites ops"), 2);
  EXPECT_EQ(shell(std::string("bash ") + kScript), 2);
}

/// The script as it is on a card, with a tool chain that always succeeds and programs that the test writes.
class GpuCheckPrograms : public GpuCheck {
 protected:
  GpuCheckPrograms() {
    program("bin/cmake", "echo \"$*\" >>" + path("cmake.txt"));
    for (const char* name : {"nvcc", "nvidia-smi"}) program("bin/" + std::string(name), "exit 0");
    program("bin/python3", "echo " + path("torch"));
    sanitizer("exit 0");
    for (const std::string where : {"build", "tree/.gpu/prebuilt"}) {
      program(where + "/tests/gpu_tests", "exit 0");
      program(where + "/tools/wan-bench", "echo WAN_WGMMA=$WAN_WGMMA. " + where);
    }
    fs::create_directories(folder_ / "tree/tools");
    fs::copy_file(kScript, folder_ / "tree/tools/gpu_check.sh");
    std::ofstream(folder_ / "tree/.gpu/commit") << "c0ffee\n";
  }
  void sanitizer(const std::string& body) { program("bin/compute-sanitizer", body); }
  int run(const std::string& options) {
    return shell("PATH=" + path("bin") + ":$PATH WAN_GPU_BUILD=" + path("build") + " bash " +
                 path("tree/tools/gpu_check.sh") + " --architectures 90a-real " + options + " " + path("out"));
  }
  std::string output(const std::string& part) {
    shell("tar -xzOf " + path("out/results.tar.gz") + " ./" + part + ".txt");
    return err_;
  }
  /// The packed programs say that they are of this commit and for this card.
  void prebuilt(const std::string& commit, const std::string& architectures) {
    std::ofstream(folder_ / "tree/.gpu/prebuilt/commit") << commit << "\n";
    std::ofstream(folder_ / "tree/.gpu/prebuilt/architectures") << architectures << "\n";
  }
};

TEST_F(GpuCheckPrograms, WhatASanitizerFoundBeforeItsTimeEndedIsAFailure) {
  sanitizer("echo '========= Invalid __global__ read of size 4 bytes'; exec sleep 30");
  EXPECT_EQ(run("--seconds 8 --parts memcheck"), 1) << err_;
  EXPECT_EQ(state("memcheck"), "failed");
  sanitizer("echo '========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)'; exec sleep 30");
  EXPECT_EQ(run("--seconds 8 --parts racecheck"), 0) << err_;
  EXPECT_EQ(state("racecheck"), "time ended, no error up to there");
}

TEST_F(GpuCheckPrograms, WhatFailsWithWgmmaIsNotMeasured) {
  EXPECT_EQ(run("--parts 'wgmma-tests vae'"), 0) << err_;
  EXPECT_EQ(output("vae"), "WAN_WGMMA=. build\n");
  program("build/tests/gpu_tests", "case \"$*\" in *=WgmmaGpu*) exec sleep 30;; esac");
  EXPECT_EQ(run("--seconds 8 --parts wgmma-tests"), 1) << err_;
  EXPECT_EQ(state("wgmma-tests"), "time ended");
  EXPECT_EQ(run("--parts vae"), 0) << err_;  // another call knows it
  EXPECT_EQ(output("vae"), "WAN_WGMMA=off. build\n");
}

TEST_F(GpuCheckPrograms, ProgramsThatWereBuiltElsewhereAreTakenWhereTheyStart) {
  prebuilt("c0ffee", "90a-real");
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  EXPECT_EQ(output("vae"), "WAN_WGMMA=. tree/.gpu/prebuilt\n");
  EXPECT_EQ(state("build"), "not needed");
  EXPECT_FALSE(fs::exists(folder_ / "cmake.txt"));
  prebuilt("c0ffee", "89-real");
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  EXPECT_EQ(output("vae"), "WAN_WGMMA=. build\n") << "for another card";
  prebuilt("decade", "90a-real");
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  EXPECT_EQ(output("vae"), "WAN_WGMMA=. build\n") << "of another commit";
  prebuilt("c0ffee", "90a-real");
  program("tree/.gpu/prebuilt/tests/gpu_tests", "echo libtorch_cuda.so: cannot open shared object file; exit 127");
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  EXPECT_EQ(output("vae"), "WAN_WGMMA=. build\n") << "they do not start";
}

TEST_F(GpuCheckPrograms, TheProgramTakesWhatTheLastPartsAskOfIt) {
  if (at::hasCUDA()) GTEST_SKIP() << "a GPU is here: minutes";
  program("build/tools/wan-bench", "exec " WAN_BINARY_DIR "/tools/wan-bench \"$@\"");
  EXPECT_EQ(run("--seconds 1800 --parts 'profile mlperf'"), 0) << err_;
  EXPECT_EQ(state("profile"), "done");
  EXPECT_EQ(state("mlperf"), "done");
  EXPECT_TRUE(packed("profile.json") && packed("profile.trace") && packed("mlperf.json"));
  const auto report = nlohmann::json::parse(content(folder_ / "out/mlperf.json"));
  EXPECT_EQ(report["environment"]["videos"], "1");
  EXPECT_EQ(report["commit"], "c0ffee");
}

TEST_F(GpuCheckPrograms, AVideoIsNotBegunWhereItsTimeWouldEnd) {
  EXPECT_EQ(run("--seconds 400 --parts 'profile mlperf'"), 0) << err_;
  EXPECT_EQ(state("profile"), "done");
  EXPECT_EQ(state("mlperf"), "not begun");
  EXPECT_NE(err_.find("less than the 480 s of a video are left"), std::string::npos) << err_;
}

TEST_F(GpuCheckPrograms, WhatIsPackedIsBuiltWith) {
  const std::string usr = path("tree/.gpu/usr");
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  EXPECT_EQ(content(folder_ / "cmake.txt").find("OPENSSL"), std::string::npos) << "that of the machine";
  for (const char* file : {"lib/x86_64-linux-gnu/libcrypto.a", "share/cmake/CLI11/CLI11Config.cmake"}) {
    fs::create_directories((usr / fs::path(file)).parent_path());
    std::ofstream(usr / fs::path(file)) << "packed";
  }
  EXPECT_EQ(run("--parts vae"), 0) << err_;
  for (const std::string& option :
       {"-DOPENSSL_CRYPTO_LIBRARY=" + usr + "/lib/x86_64-linux-gnu/libcrypto.a",
        "-DOPENSSL_INCLUDE_DIR=" + usr + "/include", "-DCLI11_DIR=" + usr + "/share/cmake/CLI11"})
    EXPECT_NE(content(folder_ / "cmake.txt").find(option), std::string::npos) << option;
}

TEST_F(GpuCheckPrograms, ABuildThatFailsIsToldAndKept) {
  program("bin/cmake", "echo no such compiler; exit 1");
  EXPECT_EQ(run(""), 1) << err_;
  EXPECT_NE(err_.find("no such compiler"), std::string::npos) << err_;
  EXPECT_EQ(state("build"), "failed with 1");
  EXPECT_NE(output("build").find("no such compiler"), std::string::npos);
}

/// A package that python3 finds in `python`, with this source.
class GpuCheckBaseline : public GpuCheck {
 protected:
  void package(const std::string& name, const std::string& source) {
    const fs::path folder = folder_ / "python" / name;
    fs::create_directories(folder);
    std::ofstream(folder / "__init__.py") << source;
  }
};

TEST_F(GpuCheckBaseline, DiffusersIsImportedWithoutTransformers) {
  package("torch", "bfloat16 = float16 = None\n");
  package("torch/nn", "");
  package("torch/nn/attention", "SDPBackend = sdpa_kernel = None\n");
  package("transformers", "raise ImportError('huggingface_hub>=1.0 is required, 0.34.4 was found')\n");
  package("diffusers",
          "import importlib.util\n"
          "if importlib.util.find_spec('transformers') is not None:\n  import transformers\n"
          "WanTransformer3DModel = 'the class'\n");
  const std::string python = "PYTHONPATH=" + path("python") + ":" WAN_SOURCE_DIR "/tools python3 -B -c ";
  EXPECT_NE(shell(python + "'import diffusers'"), 0) << "the stand-in fails as the real one does";
  EXPECT_EQ(shell(python + "'import bench_baseline; import diffusers; print(diffusers.WanTransformer3DModel)'"), 0)
      << err_;
  EXPECT_EQ(err_, "the class\n");
}

}  // namespace
}  // namespace wan
