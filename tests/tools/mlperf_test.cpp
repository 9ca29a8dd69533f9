// `wan-bench mlperf`: the benchmark's settings, the seconds of its stages by a clock that follows a script, and small
// networks on the CPU.
#include "tools/mlperf/measure.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tools/mlperf/command.h"
#include "tools/mlperf/published.h"

namespace wan::mlperf {
namespace {

namespace fs = std::filesystem;

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

/// Every stage costs what the script says; what was asked is kept in order.
struct Script : VideoMaker {
  double now = 100;
  std::string asked;
  std::vector<Tensor> latents;

  at::Device device() const override { return at::kCPU; }
  std::string weights() const override { return "of a script"; }
  std::string precision() const override { return "exact"; }
  Work work() const override { return {3e12, 5e12}; }
  Tensor text(const std::string& prompt) override {
    asked += "t" + prompt;
    now += prompt == "no" ? 0.25 : 1;
    return at::zeros({1, 1});
  }
  void begin(const Tensor&, const Tensor&, const Schedule&) override { asked += "b"; }
  kernels::Velocity velocity(const Step& step, const Tensor& x) override {
    asked += step.high ? "h" : "l";
    now += step.high ? 10 : 7;
    return {at::ones_like(x), at::zeros_like(x), step.guidance};
  }
  void decode(const Tensor& x, int64_t frames, const TakeFrames& take) override {
    asked += "d" + std::to_string(frames);
    now += 4;
    latents.push_back(x);
    take(at::zeros({1, 2, 2, 3}, at::kByte));
  }
};

struct Counted : FrameFile {
  explicit Counted(Script& script) : script(script) {}
  void write(const Tensor&) override { script.now += 0.5, script.asked += "w"; }
  void finish() override { script.now += 0.125, script.asked += "f"; }
  Script& script;
};

Series series_of(Script& script, Scenario scenario) {
  Series series;
  series.settings = {.width = 32, .height = 16, .frames = 5, .steps = 4, .scenario = scenario};
  series.prompts = {"A", "B"};
  series.negative = "no";
  series.latent = at::zeros({16, 2, 2, 4});
  series.videos = 2;
  series.files = {"encode", [&script](const std::string& prompt, int64_t height, int64_t width) {
                    script.asked += "o" + prompt + std::to_string(height) + std::to_string(width);
                    return std::make_unique<Counted>(script);
                  }};
  return series;
}

bench::Report measured(Script& script, const Series& series, std::vector<size_t>* saved = nullptr) {
  const c10::InferenceMode inference;
  bench::Report report;
  measure(script, series, {.clock = [&script] { return script.now; }, .encodes_aside = false}, report,
          [&](const bench::Report& now) {
            if (saved) saved->push_back(now.rows.at(0).milliseconds.size());
          });
  return report;
}

const bench::Row& row(const bench::Report& report, const std::string& name) {
  for (const bench::Row& one : report.rows)
    if (one.ours && one.name == name) return one;
  throw std::out_of_range(name);
}

using Milliseconds = std::vector<double>;

TEST(Mlperf, OneVideoAtATime) {
  Script script;
  std::vector<size_t> saved;
  const bench::Report report = measured(script, series_of(script, Scenario::SingleStream), &saved);
  // One step of each network first, which is not counted.
  EXPECT_EQ(script.asked,
            "tAtnobhld1"
            "tAtnobhhhloA1632d5wf"
            "tBtnobhhhloB1632d5wf");
  EXPECT_EQ(row(report, "text encoder").milliseconds, (Milliseconds{1250, 1250}));
  EXPECT_EQ(row(report, "high-noise expert").milliseconds, (Milliseconds{30000, 30000}));
  EXPECT_EQ(row(report, "low-noise expert").milliseconds, (Milliseconds{7000, 7000}));
  EXPECT_EQ(row(report, "VAE decode").milliseconds, (Milliseconds{4000, 4000}));
  EXPECT_EQ(row(report, "encode").milliseconds, (Milliseconds{625, 625}));
  EXPECT_EQ(row(report, "video").milliseconds, (Milliseconds{42875, 42875}));
  EXPECT_EQ(row(report, "high-noise expert").flops, 3 * 3e12);
  EXPECT_EQ(row(report, "video").flops, 4 * 3e12 + 5e12);
  EXPECT_EQ(saved, (std::vector<size_t>{1, 2})) << "each video is kept at once";
  ASSERT_EQ(script.latents.size(), 3u);
  EXPECT_TRUE(script.latents[1].equal(script.latents[2])) << "both start from the same latent";
  // From sigma 0.999 to 0 with a velocity of `guidance`, 4 for most of the way and 3 at its end.
  EXPECT_LT(script.latents[1].max().item<float>(), -3);
  EXPECT_GT(script.latents[1].min().item<float>(), -4.5);
}

TEST(Mlperf, AllPromptsAtOnce) {
  Script script;
  std::vector<size_t> saved;
  const bench::Report report = measured(script, series_of(script, Scenario::Offline), &saved);
  EXPECT_EQ(script.asked,
            "tAtnobhld1"
            "tAtnotBtno"
            "bhhhloA1632d5wf"
            "bhhhloB1632d5wf");
  EXPECT_EQ(row(report, "text encoder").milliseconds, (Milliseconds{1250, 1250}));
  EXPECT_EQ(row(report, "video").milliseconds, Milliseconds{42875}) << "the time of all, by their number";
  EXPECT_TRUE(row(report, "video").shape.ends_with(", offline"));
  EXPECT_EQ(saved, std::vector<size_t>{2});
}

TEST(Mlperf, FramesAreWrittenBesideTheirDecoding) {
  Script script;
  Series series = series_of(script, Scenario::SingleStream);
  std::vector<int> seen;
  struct Kept : FrameFile {
    explicit Kept(std::vector<int>& seen) : seen(seen) {}
    void write(const Tensor& rgb) override { seen.push_back(rgb.flatten()[0].item<int>()); }
    void finish() override { seen.push_back(-1); }
    std::vector<int>& seen;
  };
  series.files.open = [&](const std::string&, int64_t, int64_t) { return std::make_unique<Kept>(seen); };
  const c10::InferenceMode inference;
  bench::Report report;
  measure(script, series, {}, report);
  EXPECT_EQ(seen, (std::vector<int>{0, -1, 0, -1})) << "in order, and whole when the run ends";
}

TEST(Mlperf, ADiskThatRefusesEndsTheRun) {
  struct Full : FrameFile {
    void write(const Tensor&) override { throw std::runtime_error("the disk is full"); }
    void finish() override {}
  };
  Script script;
  Series series = series_of(script, Scenario::SingleStream);
  series.files.open = [](const std::string&, int64_t, int64_t) { return std::make_unique<Full>(); };
  const c10::InferenceMode inference;
  bench::Report report;
  EXPECT_THROW(measure(script, series, {}, report), std::runtime_error);
}

TEST(Mlperf, ALatentOfAnotherSizeIsRefused) {
  Script script;
  Series series = series_of(script, Scenario::SingleStream);
  series.latent = at::zeros({16, 2, 4, 2});
  bench::Report report;
  try {
    measure(script, series, {}, report);
    FAIL() << "must be refused";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "[latent] must be [16, 2, 2, 4] for 32x16, 5 frames, 4 steps, got [16, 2, 4, 2]");
  }
  EXPECT_EQ(script.asked, "");
}

TEST(Mlperf, AReportKeepsWhatIsPublishedApart) {
  Script script;
  bench::Report report = measured(script, series_of(script, Scenario::SingleStream));
  const nlohmann::json json = to_json(report);
  EXPECT_EQ(to_json(bench::report_of(json, "x")), json);
  size_t published = 0;
  for (const auto& one : json["rows"]) published += one.contains("published");
  EXPECT_EQ(published, published_rows().size());
  // The same case as ours: still no library that was measured here.
  bench::Row own = row(report, "video");
  own.shape = published_rows()[0].shape;
  EXPECT_EQ(report.against_library(own), 0);
  const std::string text = table(report);
  EXPECT_NE(text.find("published: MLPerf Inference v6.0, closed division; VBench 69.78"), std::string::npos) << text;
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

/// Small networks without a card.
Options small_options() {
  Options options;
  options.width = options.height = 32;
  options.steps = 3;
  options.videos = 2;
  return options;
}

TEST(Mlperf, SmallNetworksOnTheCpuAndWhatTheyAreNot) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  const c10::InferenceMode inference;
  const bench::Report report = run(small_options(), {});
  for (const char* name : {"text encoder", "high-noise expert", "low-noise expert", "VAE decode", "video"}) {
    ASSERT_EQ(row(report, name).milliseconds.size(), 2u) << name;
    EXPECT_GT(row(report, name).median(), 0) << name;
    EXPECT_NE(row(report, name).note.find("not comparable: width 32 in place of 1280"), std::string::npos) << name;
    EXPECT_NE(row(report, name).note.find("weights: drawn, of small networks"), std::string::npos) << name;
  }
  const bench::Row& video = row(report, "video");
  EXPECT_GE(video.median(), row(report, "high-noise expert").median() + row(report, "VAE decode").median());
  EXPECT_NE(video.note.find("seconds for each video"), std::string::npos);
  EXPECT_EQ(video.note.find("GPU seconds"), std::string::npos) << "there is none";
  const std::string comparable = report.environment.at(bench::kComparable);
  EXPECT_TRUE(comparable.starts_with("no: ")) << comparable;
  EXPECT_NE(comparable.find("on a CPU"), std::string::npos);
  EXPECT_NE(comparable.find("networks of other sizes"), std::string::npos);
  EXPECT_EQ(report.environment.at("videos"), "2");
  EXPECT_NE(report.environment.at("benchmark").find("not verified by MLCommons"), std::string::npos);
}

std::string bytes_of(const fs::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

TEST(Mlperf, TheFixedLatentDecidesTheFrames) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  const c10::InferenceMode inference;
  const auto frames = [](const Options& options) {
    const TemporaryFolder folder;
    Options asked = options;
    asked.frames_to = folder.path().string();
    asked.videos = 1;
    run(asked, {});
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
      if (entry.is_regular_file()) files[fs::relative(entry.path(), folder.path())] = bytes_of(entry.path());
    return files;
  };
  const auto first = frames(small_options());
  ASSERT_FALSE(first.empty());
  EXPECT_TRUE(first.begin()->first.starts_with("a lighthouse at dusk, waves below it-0")) << first.begin()->first;
  EXPECT_EQ(frames(small_options()), first);
  Options other = small_options();
  other.seed = 43;
  EXPECT_NE(frames(other), first);
  // The same start out of a file, with the axis of a batch before.
  const TemporaryFolder folder;
  at::Tensor latent = at::zeros({1, 16, 2, 4, 4});
  write_safetensors(folder / "latent.safetensors", {{"latent", latent}}, {});
  other.latent = (folder / "latent.safetensors").string();
  const auto from_file = frames(other);
  EXPECT_NE(from_file, first);
  other.seed = 44;
  EXPECT_EQ(frames(other), from_file) << "the seed plays no part beside a file";
  write_safetensors(folder / "latent.safetensors", {{"a", latent}, {"b", latent}}, {});
  EXPECT_THROW(frames(other), std::invalid_argument);
}

TEST(Mlperf, WordsAndFoldersThatAreNotKnownAreRefused) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  const auto refused = [](auto change) {
    Options options = small_options();
    change(options);
    try {
      run(options, {});
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused([](Options& o) { o.scenario = "server"; }), "[scenario] must be single or offline, got server");
  EXPECT_EQ(refused([](Options& o) { o.precision = "fp8"; }), "[precision] must be exact, balanced or fast, got fp8");
  EXPECT_NE(refused([](Options& o) { o.frames = 6; }), "");
  EXPECT_NE(refused([](Options& o) { o.frames_to = "/nowhere/at/all"; }), "");
}

}  // namespace
}  // namespace wan::mlperf
