// `wan-infer plan` and --dry-run with a model.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "tests/support/interpolators.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

struct ProgramPlan : testing::Test {
  TemporaryFolder folder;
  Outcome run(std::vector<std::string> words) const { return Process("wan-infer", words, folder.path()).finish(); }
  /// A small job of the tiny model.
  static std::vector<std::string> job(std::vector<std::string> first, const std::vector<std::string>& more = {}) {
    for (const char* word : {"t2v", "--model", kNano.c_str(), "--prompt", "x", "--unlocked", "--width", "64",
                             "--height", "64", "--num-frames", "5", "--seed", "1", "--num-inference-steps", "4"})
      first.push_back(word);
    first.insert(first.end(), more.begin(), more.end());
    return first;
  }
};

TEST_F(ProgramPlan, OfADescribedCardIsATableAndExactJson) {
  const Outcome text = run(job({"plan"}, {"--gpu", "24GB", "--host", "32GB", "--link", "25GB/s", "--disk", "3GB/s"}));
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(
      text.out.starts_with("card of 24.00 GB: 22.10 GB to take of 24.00 GB free; host 32.00 GB, link 25 GB/s, "
                           "disk 3 GB/s\n64x64, 5 frames: everything stays; VAE with own windows\n"))
      << text.out;
  EXPECT_NE(text.out.find("computed and not measured"), std::string::npos);
  EXPECT_NE(text.out.find("Assumed: the card computes as fast as RTX 4090; --gpu takes a name, too.\n"),
            std::string::npos);
  const Outcome json = run(job({"plan"}, {"--gpu", "24GB", "--host", "32GB", "--json"}));
  const nlohmann::json found = nlohmann::json::parse(json.out);
  EXPECT_EQ(found.at("fits"), true);
  EXPECT_EQ(found.at("machine").at("budget"), 22'100'000'000);
  EXPECT_EQ(found.at("frames"), 5);
  ASSERT_EQ(found.at("phases").size(), 4u);
  EXPECT_EQ(found.at("phases")[1].at("name"), "high_noise");
  EXPECT_EQ(found.at("phases")[1].at("networks")[0].at("residency"), "whole");
  EXPECT_GT(found.at("phases")[1].at("activations").get<int64_t>(), 1000);
}

TEST_F(ProgramPlan, CountsTheTimeOfFramesBetweenFrames) {
  write_interpolator(folder / "flownet.safetensors", "rife");
  const auto plan = [&](const char* between) {
    const Outcome got =
        run(job({"plan"}, {"--gpu", "4090", "--host", "32GB", "--json", "--interpolator-model", "rife",
                           "--interpolator", "flownet.safetensors", "--num-interpolated-frames", between}));
    EXPECT_EQ(got.code, 0) << got.err;
    return nlohmann::json::parse(got.out).at("phases");
  };
  const nlohmann::json one = plan("1"), four = plan("4");
  ASSERT_EQ(one.size(), 5u);
  EXPECT_EQ(one[4].at("name"), "rife");
  EXPECT_GT(one[4].at("seconds").get<double>(), 0);
  // 4.6 computes nothing of a frame by itself.
  EXPECT_NEAR(four[4].at("seconds").get<double>(), 4 * one[4].at("seconds").get<double>(), 1e-9);
  EXPECT_EQ(plan("0").size(), 4u);
}

TEST_F(ProgramPlan, SaysWhereTheVaeIsInTiles) {
  const Outcome text = run({"plan", "t2v", "--model", kNano, "--prompt", "x", "--unlocked", "--width", "2560",
                            "--height", "1440", "--num-frames", "5", "--gpu", "2GB"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find("2560x1440, 5 frames: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("; VAE in tiles\n"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("VAE in tiles, copies of their caches seen\n"), std::string::npos) << text.out;
}

TEST_F(ProgramPlan, SaysThatItsSecondsAreThoseOfDenseAttention) {
  const std::string want =
      "the seconds are those of dense attention: how much --skip-softmax leaves out is known only when it runs";
  const auto planned = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--gpu", "4090", "--host", "32GB"});
    const Outcome run_of = run(job({"plan"}, more));
    EXPECT_EQ(run_of.code, 0) << run_of.err;
    return run_of.out;
  };
  EXPECT_NE(planned({"--skip-softmax", "0.01"}).find("Assumed: " + want + ".\n"), std::string::npos);
  EXPECT_EQ(planned({}).find("dense attention"), std::string::npos);
  EXPECT_EQ(planned({"--skip-softmax", "0.01", "--skip-softmax-dense", "4"}).find("dense attention"), std::string::npos)
      << "no step leaves anything out";
  const nlohmann::json json = nlohmann::json::parse(planned({"--skip-softmax", "0.01", "--json"}));
  const nlohmann::json& assumed = json.at("machine").at("assumed");
  EXPECT_NE(std::find(assumed.begin(), assumed.end(), want), assumed.end()) << assumed;
  EXPECT_EQ(json.at("seconds"), nlohmann::json::parse(planned({"--json"})).at("seconds")) << "no figure is invented";
}

TEST_F(ProgramPlan, OfThisMachineMapsFiles) {
  const Outcome text = run(job({"plan"}, {"--device", "cpu"}));
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(text.out.starts_with("cpu: ")) << text.out;
}

TEST_F(ProgramPlan, WhatIsWrongIsToldWithItsExitCode) {
  const Outcome words = run(job({"plan"}, {"--gpu", "0GB"}));
  EXPECT_EQ(words.code, 2);
  EXPECT_TRUE(words.err.starts_with("wan-infer: [--gpu] must be a size from 1.00 GB to 10 TB, got '0GB'")) << words.err;
  const Outcome model = run({"plan", "t2v", "--model", "absent", "--prompt", "x"});
  EXPECT_EQ(model.code, 3) << model.err;
  const Outcome large = run({"plan", "t2v", "--model", kNano, "--prompt", "x", "--unlocked", "--width", "4096",
                             "--height", "4096", "--num-frames", "161", "--gpu", "2GB", "--json"});
  EXPECT_EQ(large.code, 2);
  EXPECT_EQ(nlohmann::json::parse(large.out).at("errors")[0].at("field"), "memory");
  EXPECT_TRUE(large.err.starts_with("wan-infer: [memory] must hold ")) << large.err;
}

TEST_F(ProgramPlan, ADryRunWithAModelShowsIt) {
  const Outcome text = run(job({}, {"--dry-run", "--device", "cpu"}));
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(text.out.starts_with("t2v  64x64, 5 frames")) << text.out;
  EXPECT_NE(text.out.find("\nphase         card GB"), std::string::npos) << text.out;
  const Outcome json = run(job({}, {"--dry-run", "--log-format", "json", "--device", "cpu"}));
  const nlohmann::json found = nlohmann::json::parse(json.out);
  EXPECT_EQ(found.at("steps").size(), 4u);
  EXPECT_EQ(found.at("plan").at("phases").size(), 4u);
}

}  // namespace
}  // namespace wan
