// What the benchmark of `wan-bench mlperf` fixes, how its files are read and named, and what others published.
#include "tools/mlperf/settings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/support.h"
#include "tools/mlperf/published.h"

namespace wan::mlperf {
namespace {

TEST(Mlperf, TheSettingsAreTheBenchmarks) {
  const Settings official;
  EXPECT_EQ(official.shape(), "1280x720, 81 frames, 20 steps");
  EXPECT_EQ(official.latent_shape(), (std::array<int64_t, 4>{16, 21, 90, 160}));
  EXPECT_EQ(official.tokens(), 75600);
  EXPECT_TRUE(differences(official).empty());
  const Schedule schedule = schedule_of(official);
  ASSERT_EQ(schedule.size(), 20);
  EXPECT_EQ(schedule.first_low(), 13);
  EXPECT_EQ(schedule[0].guidance, 4);
  EXPECT_EQ(schedule[19].guidance, 3);
  EXPECT_FALSE(schedule[13].high);
}

TEST(Mlperf, WhatDiffersIsNamed) {
  const auto differs = [](auto change) {
    Settings settings;
    change(settings);
    const std::vector<std::string> found = differences(settings);
    return found.size() == 1 ? found[0] : std::to_string(found.size()) + " differences";
  };
  EXPECT_EQ(differs([](Settings& s) { s.width = 832; }), "width 832 in place of 1280");
  EXPECT_EQ(differs([](Settings& s) { s.height = 480; }), "height 480 in place of 720");
  EXPECT_EQ(differs([](Settings& s) { s.frames = 5; }), "frames 5 in place of 81");
  EXPECT_EQ(differs([](Settings& s) { s.steps = 19; }), "steps 19 in place of 20");
  EXPECT_EQ(differs([](Settings& s) { s.guidance = 1; }), "guidance 1 in place of 4");
  EXPECT_EQ(differs([](Settings& s) { s.guidance_2 = 4; }), "guidance of the low-noise expert 4 in place of 3");
  EXPECT_EQ(differs([](Settings& s) { s.boundary = 0.9; }), "boundary 0.9 in place of 0.875");
  EXPECT_EQ(differs([](Settings& s) { s.solver = "euler"; }), "solver euler in place of unipc");
}

TEST(Mlperf, SizesThatNoNetworkTakesAreRefused) {
  const auto refused = [](auto change) {
    Settings settings;
    change(settings);
    try {
      settings.check();
      return std::string();
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused([](Settings&) {}), "");
  EXPECT_EQ(refused([](Settings& s) { s.width = 1288; }),
            "[width] must be a multiple of 16 pixels, at least 16, got 1288");
  EXPECT_NE(refused([](Settings& s) { s.height = 0; }), "");
  EXPECT_EQ(refused([](Settings& s) { s.frames = 80; }), "[frames] must be 4n + 1, as 81, got 80");
  EXPECT_NE(refused([](Settings& s) { s.steps = 0; }), "");
  EXPECT_EQ(refused([](Settings& s) { s.boundary = std::nan(""); }), "[boundary] must be a finite number, got nan");
  EXPECT_EQ(refused([](Settings& s) { s.guidance_2 = -INFINITY; }), "[guidance-2] must be a finite number, got -inf");
  EXPECT_EQ(refused([](Settings& s) { s.shift = 0; }), "[shift] must be above 0, got 0");
}

TEST(Mlperf, PromptsAreLines) {
  const TemporaryFolder folder;
  const std::string file = (folder / "prompts.txt").string();
  std::ofstream(file) << "  a tram\r\n\n\ta potter \nlast";
  EXPECT_EQ(read_prompts(file), (std::vector<std::string>{"a tram", "a potter", "last"}));
  std::ofstream(file) << "\n \n";
  EXPECT_THROW(read_prompts(file), std::invalid_argument);
  EXPECT_THROW(read_prompts((folder / "absent").string()), std::invalid_argument);
}

TEST(Mlperf, NamesAreWhatVBenchLooksFor) {
  EXPECT_EQ(vbench_name("a person washing the dishes"), "a person washing the dishes-0");
  EXPECT_EQ(vbench_name("day/night\n"), "day_night_-0");
  const std::string cut = vbench_name(std::string(239, 'a') + "\xC3\xA9");  // e with an accent, two bytes
  EXPECT_EQ(cut, std::string(239, 'a') + "-0");
}

TEST(Mlperf, PublishedRowsSayWhoseTheyAre) {
  const std::vector<bench::Row> rows = published_rows();
  ASSERT_GE(rows.size(), 5u);
  for (const bench::Row& row : rows) {
    EXPECT_TRUE(row.published.starts_with("MLPerf Inference v6.")) << row.backend;
    EXPECT_FALSE(row.ours);
    EXPECT_TRUE(row.shape.starts_with("1280x720, 81 frames, 20 steps, ")) << row.shape;
  }
  EXPECT_EQ(rows[0].milliseconds, std::vector<double>{441e3});
}

/// A report of a card that has all that is asked of one.
bench::Report complete_report() {
  bench::Report report;
  report.commit = "abc";
  for (const char* key : {"gpu", "driver", "cuda", "torch", "clocks_before", "clocks_after"})
    report.environment[key] = "x";
  report.environment[bench::kComparable] = "yes";
  report.ceilings["bf16"] = 7e14;
  report.rows = published_rows();
  bench::Row video = report.rows[0];
  video.published = "";
  video.ours = true;
  video.flops = 2.6e17;
  video.ceiling = "bf16";
  report.rows.push_back(video);
  return report;
}

TEST(Mlperf, OnlyWhatIsComparableIsPublished) {
  EXPECT_TRUE(complaints(complete_report()).empty()) << complaints(complete_report())[0];
  bench::Report report = complete_report();
  report.environment[bench::kComparable] = "no: frames 5 in place of 81";
  ASSERT_EQ(complaints(report).size(), 1u);
  EXPECT_EQ(complaints(report)[0], "not comparable with the benchmark, no: frames 5 in place of 81");
  report = complete_report();
  report.rows.pop_back();
  EXPECT_EQ(complaints(report), std::vector<std::string>{"no rows"}) << "others' figures alone are no result";
  report = complete_report();
  report.ceilings.clear();
  EXPECT_EQ(complaints(report).size(), 1u);
}

}  // namespace
}  // namespace wan::mlperf
