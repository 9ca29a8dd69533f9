// `wan-bench mlperf` as a user calls it, with drawn weights and with a model's files.
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

Outcome run(const fs::path& folder, std::vector<std::string> words) {
  words.insert(words.begin(), "mlperf");
  return Process("wan-bench", words, folder).finish();
}

TEST(ProgramMlperf, WritesOneJsonWithPublishedRowsBeside) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  const TemporaryFolder folder;
  const Outcome outcome =
      run(folder.path(), {"--width", "32", "--height", "32", "--steps", "3", "--videos", "1", "--json", "a.json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const nlohmann::json report = nlohmann::json::parse(content(folder / "a.json"));
  EXPECT_TRUE(report["environment"]["comparable"].get<std::string>().starts_with("no: "));
  int ours = 0, published = 0;
  for (const auto& row : report["rows"]) {
    ours += row["ours"].get<bool>();
    published += row.contains("published");
  }
  EXPECT_EQ(ours, 6) << "text encoder, two experts, VAE, encode, video";
  EXPECT_GE(published, 5);
  EXPECT_NE(outcome.out.find("not comparable"), std::string::npos);
  const Outcome checked = Process("wan-bench", {"check", "a.json"}, folder.path()).finish();
  EXPECT_EQ(checked.code, 1);
  EXPECT_NE(checked.err.find("not comparable with the benchmark"), std::string::npos) << checked.err;
}

TEST(ProgramMlperf, AModelsFilesMakeVideosForVBench) {
  const TemporaryFolder folder;
  std::ofstream(folder / "prompts.txt") << "a tram\na potter\n";
  fs::create_directory(folder / "videos");
  const Outcome outcome = run(
      folder.path(), {"--model", kNano, "--width", "64", "--height", "64", "--frames", "5", "--steps", "3", "--json",
                      "a.json", "--prompts", "prompts.txt", "--frames-to", "videos", "--scenario", "offline"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(fs::file_size(folder / "videos/a tram-0.mp4"), 500u);
  EXPECT_GT(fs::file_size(folder / "videos/a potter-0.mp4"), 500u);
  const nlohmann::json report = nlohmann::json::parse(content(folder / "a.json"));
  EXPECT_NE(report["environment"]["weights"].get<std::string>().find("high_noise_model"), std::string::npos);
  EXPECT_EQ(report["environment"]["videos"], "2");
}

TEST(ProgramMlperf, WhatIsWrongIsToldWithCodeTwo) {
  const TemporaryFolder folder;
  EXPECT_EQ(run(folder.path(), {"--scenario", "server"}).code, 2);
  EXPECT_EQ(run(folder.path(), {"--frames", "6", "--width", "32", "--height", "32"}).code, 2);
  const Outcome outcome = run(folder.path(), {"--prompts", "absent.txt"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("[prompts] must be a file with a prompt on each line"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace wan
