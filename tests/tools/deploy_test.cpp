// The files of deploy/: each is what its reader takes, and their commands are commands of these programs.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

const fs::path kDeploy = fs::path(WAN_SOURCE_DIR) / "deploy";
const std::string kTools = WAN_BINARY_DIR "/tools";
const std::string kInImage = "/opt/wan-infer/build/cuda/tools";

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

/// Documents of a YAML file as a list; null where Python has no YAML.
json documents(const fs::path& file, const fs::path& scratch) {
  const std::string out = scratch / "documents.json";
  const std::string command =
      "python3 -c 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))' '" +
      file.string() + "' >'" + out + "' 2>/dev/null";
  if (std::system("python3 -c 'import yaml' 2>/dev/null") != 0) return nullptr;
  EXPECT_EQ(std::system(command.c_str()), 0) << file << " is no YAML";
  return json::parse(content(out), nullptr, false);
}

/// Words that begin with --, of a list of arguments.
Words flags_of(const json& words) {
  Words flags;
  for (const json& word : words)
    if (const std::string text = word.get<std::string>(); text.starts_with("--")) flags.push_back(text);
  return flags;
}

class Deploy : public testing::Test {
 protected:
  Deploy() {
    std::ofstream(folder_ / "night.jsonl")
        << json{{"task", "t2v"}, {"prompt", "x"}, {"seed", 1}, {"repeat", 16}, {"out", "a.mp4"}}.dump() << "\n";
  }

  Outcome infer(const Words& words) { return Process("wan-infer", words, folder_.path()).finish(); }

  /// A program that plays the part of another.
  void program(const std::string& name, const std::string& body) {
    fs::create_directories(folder_ / "bin");
    std::ofstream(folder_ / "bin" / name) << "#!/bin/bash\n" << body << "\n";
    fs::permissions(folder_ / "bin" / name, fs::perms::owner_all);
  }
  int shell(const std::string& command) const {
    const std::string path = (folder_ / "bin").string();
    const int status =
        std::system(("cd '" + folder_.path().string() + "' && PATH='" + path + "':\"$PATH\" " + command).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void expect_flags_of_the_server(const Words& flags) {
    const std::string help = Process("wan-serve", {"--help"}, folder_.path()).finish().out;
    EXPECT_GE(flags.size(), 2u);
    for (const std::string& flag : flags)
      EXPECT_TRUE(std::regex_search(help, std::regex("(^|\\s)" + flag + "(\\s|,|$)")))
          << flag << " is no flag of wan-serve";
  }

  TemporaryFolder folder_;
};

TEST_F(Deploy, TheUnitIsOneForSystemd) {
  const std::string unit = content(kDeploy / "systemd/wan-serve.service");
  std::istringstream lines(unit);
  Words flags;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("ExecStart=") && !line.starts_with("Environment=\"WAN_SERVE_FLAGS=")) continue;
    std::istringstream words(replaced(line, "=--", " --"));
    for (std::string word; words >> word;)
      if (word.starts_with("--")) flags.push_back(replaced(word, "\"", ""));
  }
  expect_flags_of_the_server(flags);
  for (const char* setting : {"Restart=on-failure", "KillMode=mixed", "TimeoutStopSec=75", "StateDirectory=wan-serve",
                              "DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict"})
    EXPECT_TRUE(holds(unit, std::string("\n") + setting + "\n")) << setting;
  EXPECT_FALSE(holds(unit, "\nPrivateDevices=yes")) << "it hides the card";
  if (shell("command -v systemd-analyze >/dev/null") != 0) GTEST_SKIP() << "systemd-analyze is not installed";
  std::ofstream(folder_ / "wan-serve.service") << replaced(unit, kInImage, kTools);
  const int code = shell("systemd-analyze verify ./wan-serve.service >said.txt 2>&1");
  const std::string said = content(folder_ / "said.txt");
  if (holds(said, "Failed to initialize manager")) GTEST_SKIP() << "systemd-analyze cannot work here: " << said;
  EXPECT_EQ(code, 0) << said;
  EXPECT_FALSE(holds(said, "wan-serve.service")) << said;
}

TEST_F(Deploy, ComposeStartsTheServerWithACard) {
  const json all = documents(kDeploy / "compose.yaml", folder_.path());
  if (all.is_null()) GTEST_SKIP() << "Python has no yaml";
  ASSERT_TRUE(all.is_array());
  const json service = all.at(0).at("services").at("wan-serve");
  EXPECT_EQ(service.at("entrypoint").at(0), kInImage + "/wan-serve");
  expect_flags_of_the_server(flags_of(service.at("command")));
  const json device = service.at("deploy").at("resources").at("reservations").at("devices").at(0);
  EXPECT_EQ(device.at("driver"), "nvidia");
  EXPECT_EQ(device.at("capabilities").at(0), "gpu");
  for (const json& port : service.at("ports"))
    EXPECT_TRUE(port.get<std::string>().starts_with("127.0.0.1:")) << "--no-auth is for this machine alone";
}

TEST_F(Deploy, KubernetesServesAndAsksWhetherItDoes) {
  const json all = documents(kDeploy / "kubernetes/wan-serve.yaml", folder_.path());
  if (all.is_null()) GTEST_SKIP() << "Python has no yaml";
  ASSERT_TRUE(all.is_array());
  const json deployment = all.at(0).at("spec");
  EXPECT_EQ(deployment.at("strategy").at("type"), "Recreate") << "one server at a time uses a data folder";
  const json container = deployment.at("template").at("spec").at("containers").at(0);
  EXPECT_EQ(container.at("command").at(0), kInImage + "/wan-serve");
  expect_flags_of_the_server(flags_of(container.at("args")));
  EXPECT_EQ(container.at("readinessProbe").at("httpGet").at("path"), "/ready");
  EXPECT_EQ(container.at("livenessProbe").at("httpGet").at("path"), "/health");
  EXPECT_EQ(container.at("resources").at("limits").at("nvidia.com/gpu"), 1);
}

TEST_F(Deploy, ThePodsOfAJobRenderAllShards) {
  const json all = documents(kDeploy / "kubernetes/batch-job.yaml", folder_.path());
  if (all.is_null()) GTEST_SKIP() << "Python has no yaml";
  ASSERT_TRUE(all.is_array());
  const json job = all.at(0).at("spec");
  EXPECT_EQ(job.at("completionMode"), "Indexed");
  const int completions = job.at("completions").get<int>();
  int64_t jobs = 0;
  for (int index = 0; index < completions; ++index) {
    Words words;
    for (const json& word : job.at("template").at("spec").at("containers").at(0).at("args"))
      words.push_back(
          replaced(replaced(word.get<std::string>(), "$(JOB_COMPLETION_INDEX)", std::to_string(index)), "/work/", ""));
    words.push_back("--dry-run");
    const Outcome listed = infer(words);
    ASSERT_EQ(listed.code, 0) << listed.err;
    const json found = json::parse(listed.out);
    EXPECT_EQ(found.at("shard"), std::to_string(index) + "/" + std::to_string(completions));
    jobs += int64_t(found.at("jobs").size());
  }
  EXPECT_EQ(jobs, 16);
}

TEST_F(Deploy, TheTasksOfAnArrayRenderAllShards) {
  const std::string script = (kDeploy / "slurm/wan-batch.sbatch").string(), run = "bash '" + script + "' ";
  ASSERT_EQ(shell("bash -n '" + script + "'"), 0);
  const std::string text = content(script);
  for (const char* option : {"--array=0-7", "--signal=B:USR1@120", "--requeue"})
    EXPECT_TRUE(holds(text, std::string("\n#SBATCH ") + option + "\n")) << option;
  program("scontrol", "echo \"$@\" >>scontrol.txt");
  program("wan-infer", "exec " + kTools + "/wan-infer \"$@\"");
  const std::string task = "SLURM_ARRAY_JOB_ID=9 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_ID=";
  const std::string flags = "night.jsonl --model m --dry-run --log-format json ";
  int64_t jobs = 0;
  for (int index = 0; index < 8; ++index) {
    ASSERT_EQ(shell(task + std::to_string(index) + " " + run + flags + ">out.json"), 0);
    const json found = json::parse(content(folder_ / "out.json"));
    EXPECT_EQ(found.at("shard"), std::to_string(index) + "/8");
    jobs += int64_t(found.at("jobs").size());
  }
  EXPECT_EQ(jobs, 16);
  // Two of them once more; an array from 1; no array; nothing to render.
  ASSERT_EQ(shell("SHARDS=8 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_ID=5 " + run + flags + ">out.json"), 0);
  EXPECT_EQ(json::parse(content(folder_ / "out.json")).at("shard"), "5/8");
  EXPECT_EQ(shell(task + "8 " + run + flags + ">out.json 2>err.txt"), 2);
  EXPECT_TRUE(holds(content(folder_ / "err.txt"), "shards count from 0, as sbatch --array=0-7 does"));
  EXPECT_EQ(shell("SLURM_ARRAY_TASK_ID= " + run + flags + "2>err.txt"), 2);
  EXPECT_TRUE(holds(content(folder_ / "err.txt"), "must be a task of an array"));
  EXPECT_EQ(shell(task + "0 " + run + "2>err.txt"), 2);
  EXPECT_TRUE(holds(content(folder_ / "err.txt"), "a manifest is wanted"));
  EXPECT_FALSE(fs::exists(folder_ / "scontrol.txt")) << "what is refused is not tried again";
}

TEST_F(Deploy, ATaskWhoseTimeIsOverIsQueuedAgain) {
  const std::string run = "bash '" + (kDeploy / "slurm/wan-batch.sbatch").string() + "' night.jsonl";
  program("scontrol", "echo \"$@\" >>scontrol.txt");
  // It tells its script that the time is almost over, as Slurm does, and ends as wan-infer does when that comes back.
  program("wan-infer", "trap 'exit 143' TERM; kill -USR1 $PPID; while :; do sleep 0.05; done");
  EXPECT_EQ(shell("SLURM_ARRAY_JOB_ID=9 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_ID=3 " + run), 143);
  EXPECT_EQ(content(folder_ / "scontrol.txt"), "requeue 9_3\n");
  fs::remove(folder_ / "scontrol.txt");
  program("wan-infer", "trap 'exit 0' TERM; kill -USR1 $PPID; while :; do sleep 0.05; done");
  EXPECT_EQ(shell("SLURM_ARRAY_JOB_ID=9 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_ID=3 " + run), 0);
  EXPECT_FALSE(fs::exists(folder_ / "scontrol.txt")) << "it was done in the meantime";
  program("wan-infer", "trap 'exit 143' TERM; kill -TERM $PPID; while :; do sleep 0.05; done");
  EXPECT_EQ(shell("SLURM_ARRAY_JOB_ID=9 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_ID=3 " + run), 143);
  EXPECT_FALSE(fs::exists(folder_ / "scontrol.txt")) << "whoever cancels a task does not want it again";
}

TEST_F(Deploy, TheReadmesCommandsAreCommands) {
  const std::string readme = content(kDeploy / "README.md");
  for (const auto& entry : fs::recursive_directory_iterator(kDeploy))
    if (entry.is_regular_file() && entry.path().filename() != "README.md") {
      EXPECT_TRUE(holds(readme, "(" + entry.path().lexically_relative(kDeploy).string() + ")")) << entry.path();
    }
  std::istringstream lines(readme);
  int commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("    wan-infer batch ")) continue;
    std::istringstream in(line);
    Words words;
    for (std::string word; in >> word;)
      if (word != "wan-infer") words.push_back(word);
    const Outcome said = infer(words);
    EXPECT_NE(said.code, 2) << line << ": " << said.err;
    EXPECT_NE(said.out, "") << line;
    ++commands;
  }
  EXPECT_EQ(commands, 2);
}

}  // namespace
}  // namespace wan
