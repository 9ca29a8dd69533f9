// kill -9 at random moments of a batch, then the same command again: the bytes are those of an uninterrupted one.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>
#include <thread>

#include "engine/media/png.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

const std::string kGolden = WAN_SOURCE_DIR "/tests/golden/checkpoints";
constexpr int kTextJobs = 4, kJobs = kTextJobs + 2, kKills = 10;

/// Mono, 16 bits, 16 kHz.
void write_wav(const fs::path& path, uint32_t samples) {
  std::ofstream out(path, std::ios::binary);
  auto put = [&](uint32_t value, int bytes) { out.write(reinterpret_cast<const char*>(&value), bytes); };
  const uint32_t bytes = 2 * samples;
  out << "RIFF", put(36 + bytes, 4), out << "WAVEfmt ", put(16, 4), put(1, 2), put(1, 2), put(16000, 4);
  put(32000, 4), put(2, 2), put(16, 2), out << "data", put(bytes, 4);
  for (uint32_t i = 0; i < samples; ++i) put(uint32_t(int32_t(8000 * std::sin(0.05 * i + 3 * std::sin(0.001 * i)))), 2);
}

/// Jobs of every kind that keeps something between its phases; the speech one has two clips.
void write_manifest(const fs::path& path, const fs::path& media) {
  write_png(media / "face.png", at::arange(64 * 64 * 3).remainder(251).to(at::kByte).view({64, 64, 3}));
  write_wav(media / "voice.wav", 16000 * 51 / 10);
  std::ofstream out(path);
  nlohmann::json picture = {
      {"image_url", media / "face.png"}, {"prompt", "a face"}, {"unlocked", true}, {"width", 64}, {"height", 64},
      {"num_inference_steps", 2},        {"device", "cpu"},    {"seed", 5}};
  picture.update({{"task", "i2v"}, {"out", "i.mp4"}, {"num_frames", 5}, {"model", kGolden + "/Wan2.2-I2V-A14B"}});
  out << picture.dump() << "\n";
  picture.update(
      {{"task", "s2v"}, {"out", "s.mp4"}, {"audio_url", media / "voice.wav"}, {"model", kGolden + "/Wan2.2-S2V-14B"}});
  picture.erase("num_frames");
  out << picture.dump() << "\n";
  for (int i = 0; i < kTextJobs; ++i)
    out << nlohmann::json{{"task", "t2v"},
                          {"model", WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano"},
                          {"prompt", i % 2 ? "a blue square moves up on a gray background" : "a red circle"},
                          {"out", std::to_string(i) + ".mp4"},
                          {"seed", i},
                          {"solver", i == 3 ? "dpm++" : "unipc"},
                          {"unlocked", true},
                          {"width", 32},
                          {"height", 32},
                          {"num_frames", 5},
                          {"num_inference_steps", 20},
                          {"device", "cpu"}}
               .dump()
        << "\n";
}

pid_t start(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  const int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDOUT_FILENO);
  dup2(nowhere, STDERR_FILENO);
  execv(arguments[0], arguments.data());
  _exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::map<std::string, std::string> outputs(const fs::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".mp4") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    found[entry.path().filename()] = text.str();
  }
  return found;
}

/// Of the files that are there; says which is another, and from where on.
void expect_same(const std::map<std::string, std::string>& got, const std::map<std::string, std::string>& want) {
  for (const auto& [name, bytes] : got) {
    const std::string& whole = want.at(name);
    const auto differs = std::mismatch(bytes.begin(), bytes.end(), whole.begin(), whole.end());
    EXPECT_TRUE(bytes == whole) << name << ", " << bytes.size() << " bytes, differs from byte "
                                << differs.first - bytes.begin() << " of " << whole.size();
  }
}

/// Kills it after `moment`; nothing then, and its exit code where it had ended before.
std::optional<int> end_of(pid_t child, Clock::duration moment) {
  const auto until = Clock::now() + moment;
  int status = 0;
  for (; Clock::now() < until; std::this_thread::sleep_for(2ms))
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return std::nullopt;
  return WEXITSTATUS(status);
}

bool is_stopped_midway(const fs::path& work) {
  if (!fs::exists(work)) return false;
  for (const auto& entry : fs::recursive_directory_iterator(work))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

}  // namespace

TEST(Kill, AtTenMomentsChangesNoByte) {
  TemporaryFolder media, undisturbed, killed;
  write_manifest(undisturbed / "list.jsonl", media.path());
  write_manifest(killed / "list.jsonl", media.path());
  const std::string engine = WAN_BINARY_DIR "/tools/wan-engine";
  const auto begin = Clock::now();
  ASSERT_EQ(wait_for(start({engine, "batch", undisturbed / "list.jsonl"})), 0);
  auto span = Clock::now() - begin;  // that a run takes, start included; other work on the machine changes it
  const auto want = outputs(undisturbed.path());
  ASSERT_EQ(want.size(), size_t(kJobs));

  const std::vector<std::string> child = {"/proc/self/exe", "--render", killed / "list.jsonl", killed / "work"};
  std::mt19937 random(7);
  int kills = 0, midway = 0;
  for (int runs = 0; kills < kKills; ++runs) {
    ASSERT_LT(runs, 10 * kKills) << "kills come too late";
    const auto moment =
        std::chrono::duration_cast<Clock::duration>(span * std::uniform_real_distribution<>(0.1, 1)(random));
    const auto before = Clock::now();
    const std::optional<int> code = end_of(start(child), moment);
    if (!code) {
      ++kills;
      midway += is_stopped_midway(killed / "work");
      expect_same(outputs(killed.path()), want);  // a whole file or none
      continue;
    }
    // It had come to its end before the kill: all is there, and the next round begins anew.
    span = std::max(span * 4 / 5, Clock::now() - before);
    ASSERT_EQ(*code, 0);
    ASSERT_EQ(outputs(killed.path()).size(), want.size());
    expect_same(outputs(killed.path()), want);
    fs::remove_all(killed / "work");
    for (const auto& [name, bytes] : want) fs::remove(killed / name);
  }
  EXPECT_GE(midway, kKills / 4) << "most kills should find work half done";
  ASSERT_EQ(wait_for(start({engine, "batch", killed / "list.jsonl", "--work", killed / "work"})), 0);
  ASSERT_EQ(outputs(killed.path()).size(), want.size());
  expect_same(outputs(killed.path()), want);
  EXPECT_FALSE(is_stopped_midway(killed / "work")) << "finished jobs leave nothing in the work folder";
}

TEST(Kill, AnInterruptSavesAndTheSameCommandGoesOn) {
  TemporaryFolder media, folder, undisturbed;
  write_manifest(folder / "list.jsonl", media.path());
  write_manifest(undisturbed / "list.jsonl", media.path());
  const std::string engine = WAN_BINARY_DIR "/tools/wan-engine";
  ASSERT_EQ(wait_for(start({engine, "batch", undisturbed / "list.jsonl"})), 0);
  const std::vector<std::string> command = {engine, "batch", folder / "list.jsonl"};
  const pid_t process = start(command);
  const fs::path work = folder / "list.jsonl.work";
  // The first encoded prompt: the long phases come after it.
  for (int i = 0; i < 5000 && !is_stopped_midway(work); ++i) std::this_thread::sleep_for(2ms);
  kill(process, SIGINT);
  EXPECT_EQ(wait_for(process), 130);
  EXPECT_TRUE(fs::exists(work / "report.json"));
  EXPECT_TRUE(is_stopped_midway(work));
  EXPECT_EQ(wait_for(start(command)), 0);
  EXPECT_EQ(outputs(folder.path()).size(), size_t(kJobs));
  expect_same(outputs(folder.path()), outputs(undisturbed.path()));
}

TEST(Kill, AnInvalidManifestLeavesNoTrace) {
  TemporaryFolder folder;
  std::ofstream(folder / "list.jsonl") << "{\"task\": \"t2v\"}\n";
  EXPECT_EQ(wait_for(start({WAN_BINARY_DIR "/tools/wan-engine", "batch", folder / "list.jsonl"})), 2);
  EXPECT_FALSE(fs::exists(folder / "list.jsonl.work"));
}

}  // namespace wan
