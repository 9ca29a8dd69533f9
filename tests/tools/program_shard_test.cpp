// The built program on shards of a manifest, as a user or a scheduler runs them: beside each other, killed, begun again.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ProgramShard : public testing::Test {
 protected:
  /// A line of the manifest.
  void add(const json& fields) {
    json line = {{"task", "t2v"}, {"model", kNano},  {"prompt", "a red circle"},   {"unlocked", true}, {"width", 32},
                 {"height", 32},  {"num_frames", 5}, {"num_inference_steps", 100}, {"device", "cpu"}};
    line.update(fields);
    std::ofstream(folder_ / "list.jsonl", std::ios::app) << line.dump() << "\n";
  }

  static Words batch(const Words& more) {
    Words words = {"batch", "list.jsonl", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Outcome run(const Words& more) { return Process("wan-infer", batch(more), folder_.path()).finish(); }

  /// The bytes of all videos, by name.
  std::map<std::string, std::string> videos() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      if (entry.path().extension() == ".mp4") found[entry.path().filename().string()] = content(entry.path());
    return found;
  }
  json report_of(const std::string& place) const {
    return json::parse(content(folder_ / "list.jsonl.work" / place / "report.json"), nullptr, false);
  }

  TemporaryFolder folder_;
};

TEST_F(ProgramShard, TwoAtOnceAndOneThatIsKilledHaveTheBytesOfOneRun) {
  add({{"out", "a.mp4"}, {"seed", 1}, {"repeat", 4}});
  ASSERT_EQ(run({}).code, 0);
  const auto want = videos();
  ASSERT_EQ(want.size(), 4u);
  for (const auto& [name, bytes] : want) fs::remove(folder_ / name);
  fs::remove_all(folder_ / "list.jsonl.work");

  Process other("wan-infer", batch({"--shard", "1/2"}), folder_.path());
  {
    Process killed("wan-infer", batch({"--shard", "0/2"}), folder_.path());
    EXPECT_TRUE(killed.wait_for("denoise")) << "the other holds nothing that it needs";
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.finish().code, 128 + SIGKILL);
  }
  const Outcome beside = other.finish();
  EXPECT_EQ(beside.code, 0) << beside.err;
  EXPECT_TRUE(has(beside.err, "shard shard=1/2 jobs=2 of=4")) << beside.err;
  EXPECT_TRUE(beside.out.starts_with("shard 1/2\n")) << beside.out;
  EXPECT_EQ(report_of("shard-1-of-2").value("shard", ""), "1/2");
  EXPECT_EQ(report_of("shard-1-of-2").value("done", 0), 2);
  EXPECT_EQ(run({"--report"}).code, 1) << "the killed one is not done";

  const Outcome again = run({"--shard", "0/2"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(videos() == want);
  EXPECT_EQ(run({"--report"}).code, 0);
  const Outcome whole = run({});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_TRUE(has(whole.out, "4 jobs: 4 kept")) << whole.out;
  EXPECT_TRUE(videos() == want);
}

TEST_F(ProgramShard, ATermSavesAndAnotherDivisionGoesOn) {
  add({{"out", "a.mp4"}, {"seed", 1}, {"repeat", 2}});
  Process first("wan-infer", batch({"--shard", "0/2"}), folder_.path());
  EXPECT_TRUE(first.wait_for("denoise"));
  first.signal(SIGTERM);
  EXPECT_EQ(first.finish().code, 128 + SIGTERM);
  EXPECT_EQ(report_of("shard-0-of-2").value("left", 0), 1);
  const Outcome whole = run({"--shard", "0/1"});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_TRUE(has(whole.err, "resume")) << whole.err;
  EXPECT_EQ(videos().size(), 2u);
}

TEST_F(ProgramShard, DryRunsListEachJobOnceAndMakeNothing) {
  for (int i = 0; i < 7; ++i)
    add({{"out", std::to_string(i) + ".mp4"}, {"seed", i}, {"num_inference_steps", 1 + 3 * i}});
  std::multiset<int64_t> lines;
  double share = 0;
  for (int shard = 0; shard < 3; ++shard) {
    const Outcome listed = run({"--dry-run", "--shard", std::to_string(shard) + "/3", "--log-format", "json"});
    ASSERT_EQ(listed.code, 0) << listed.err;
    const json found = json::parse(listed.out);
    EXPECT_EQ(found["shard"], std::to_string(shard) + "/3");
    EXPECT_EQ(found["all_jobs"], 7);
    for (const json& job : found["jobs"]) lines.insert(job["line"].get<int64_t>());
    share += found["share"].get<double>();
  }
  EXPECT_EQ(lines, (std::multiset<int64_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_NEAR(share, 1, 1e-9);
  const Outcome all = run({"--dry-run"});
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_TRUE(all.out.ends_with("7 jobs\n")) << all.out;
  EXPECT_TRUE(has(run({"--dry-run", "--shard", "8/9"}).out, "shard 8/9: 0 of 7 jobs, 0.00 % of the work"));
  EXPECT_FALSE(fs::exists(folder_ / "list.jsonl.work"));
}

TEST_F(ProgramShard, EachChecksTheWholeManifest) {
  add({{"out", "a.mp4"}, {"seed", 1}});
  add({{"out", "b.mp4"}, {"seed", 2}});
  add({{"out", "sub/../a.mp4"}, {"seed", 3}});
  fs::create_directory(folder_ / "sub");
  for (const char* shard : {"0/3", "1/3", "2/3", "0/100"}) {
    const Outcome refused = run({"--shard", shard});
    EXPECT_EQ(refused.code, 2) << shard;
    EXPECT_TRUE(has(refused.err, "which line 1 writes too")) << shard << ": " << refused.err;
  }
  EXPECT_FALSE(fs::exists(folder_ / "list.jsonl.work"));
}

TEST_F(ProgramShard, WrongOnesAreRefusedAtOnce) {
  add({{"out", "a.mp4"}});
  for (const char* shard : {"0", "3/2", "-1/4", "1/0", "a/b", "2/2", "1/99999999999999999999", ""}) {
    const Outcome refused = run({"--shard", shard});
    EXPECT_EQ(refused.code, 2) << shard;
    EXPECT_TRUE(refused.err.starts_with("wan-infer: [--shard] must be ")) << refused.err;
  }
  EXPECT_TRUE(has(run({"--shard", "8/8"}).err, "must be from 0/8 to 7/8, got '8/8'; shards count from 0"));
  const Outcome server = run({"--shard", "0/2", "--server", "http://127.0.0.1:1"});
  EXPECT_EQ(server.code, 2);
  EXPECT_TRUE(has(server.err, "[--shard] is for local runs: the server's queue decides")) << server.err;
  const Outcome check =
      Process("wan-infer", {"check", "batch", "list.jsonl", "--shard", "1/2"}, folder_.path()).finish();
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_EQ(check.out, "") << "the only job is another shard's";
}

TEST_F(ProgramShard, AnEmptyShardEndsWell) {
  add({{"out", "a.mp4"}, {"num_inference_steps", 1}});
  const Outcome empty = run({"--shard", "7/8"});
  EXPECT_EQ(empty.code, 0) << empty.err;
  EXPECT_TRUE(has(empty.out, "0 jobs: 0 expert loads")) << empty.out;
  EXPECT_EQ(report_of("shard-7-of-8").value("jobs", json()).size(), 0u);
}

TEST_F(ProgramShard, AReportIsThatOfAllShards) {
  add({{"out", "a.mp4"}, {"seed", 1}, {"num_inference_steps", 1}});
  add({{"out", "b.mp4"}, {"seed", 2}, {"model", "absent"}, {"num_inference_steps", 1}});
  const Outcome none = run({"--report"});
  EXPECT_EQ(none.code, 1) << none.err;
  EXPECT_TRUE(has(none.out, "2 jobs: 2 left\n")) << none.out;
  EXPECT_FALSE(fs::exists(folder_ / "list.jsonl.work"));
  for (const char* shard : {"0/2", "1/2"}) run({"--shard", shard});
  const Outcome both = run({"--report"});
  EXPECT_EQ(both.code, 1);
  EXPECT_TRUE(has(both.out, "2 jobs: 1 done, 1 failed")) << both.out;
  EXPECT_TRUE(has(both.out, "absent")) << "why: " << both.out;
  const json rows = json::parse(run({"--report", "--log-format", "json"}).out);
  EXPECT_EQ(rows["done"], 1);
  EXPECT_EQ(rows["jobs"][1]["state"], "failed");
  // A run that was killed before its report: its journal tells.
  for (const char* place : {"shard-0-of-2", "shard-1-of-2"})
    fs::remove(folder_ / "list.jsonl.work" / place / "report.json");
  EXPECT_TRUE(has(run({"--report"}).out, "2 jobs: 1 done, 1 left"));
  fs::remove(folder_ / "a.mp4");
  EXPECT_TRUE(has(run({"--report"}).out, "2 jobs: 2 left\n")) << "a video that is gone is not done";
}

}  // namespace
}  // namespace wan
