// `wan-bench mlperf`: the seconds of its stages by a clock that follows a script, and small networks on the CPU.
#include "tools/mlperf/measure.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tools/mlperf/command.h"
#include "tools/mlperf/drawn_maker.h"
#include "tools/mlperf/published.h"

namespace wan::mlperf {
namespace {

namespace fs = std::filesystem;

/// Every stage costs what the script says; what was asked is kept in order.
struct Script : VideoMaker {
  double now = 100;
  std::string asked;
  std::vector<Tensor> latents;

  at::Device device() const override { return at::kCPU; }
  std::string weights() const override { return "of a script"; }
  std::string precision() const override { return "exact"; }
  Work work() const override { return {1.5e12, 5e12}; }
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
  series.settings = {.width = 32, .height = 16, .frames = 9, .steps = 4, .scenario = scenario};
  series.prompts = {"A", "B"};
  series.negative = "no";
  series.latent = at::zeros({16, 3, 2, 4});
  series.videos = 2;
  series.files = {"encode", [&script](const std::string& prompt, int64_t height, int64_t width) {
                    script.asked += "o" + prompt + std::to_string(height) + std::to_string(width);
                    return std::make_unique<Counted>(script);
                  }};
  return series;
}

/// `saved` gets how many videos each report has, `told` what it says of their number and of being comparable.
bench::Report measured(Script& script, const Series& series, std::vector<size_t>* saved = nullptr,
                       std::vector<std::string>* told = nullptr) {
  const c10::InferenceMode inference;
  bench::Report report;
  measure(script, series, {.clock = [&script] { return script.now; }, .encodes_aside = false}, report,
          [&](const bench::Report& now) {
            if (saved) saved->push_back(now.rows.at(0).milliseconds.size());
            const bool part = now.environment.at(bench::kComparable).ends_with(", 1 of 2 videos");
            if (told) told->push_back(now.environment.at("videos") + (part ? ", a part" : ""));
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
  std::vector<std::string> told;
  const bench::Report report = measured(script, series_of(script, Scenario::SingleStream), &saved, &told);
  // One step of each expert and two latent frames first, which are not counted.
  EXPECT_EQ(script.asked,
            "tAtnobhld5"
            "tAtnobhhhloA1632d9wf"
            "tBtnobhhhloB1632d9wf");
  EXPECT_EQ(row(report, "text encoder").milliseconds, (Milliseconds{1250, 1250}));
  EXPECT_EQ(row(report, "high-noise expert").milliseconds, (Milliseconds{30000, 30000}));
  EXPECT_EQ(row(report, "low-noise expert").milliseconds, (Milliseconds{7000, 7000}));
  EXPECT_EQ(row(report, "VAE decode").milliseconds, (Milliseconds{4000, 4000}));
  EXPECT_EQ(row(report, "encode").milliseconds, (Milliseconds{625, 625}));
  EXPECT_EQ(row(report, "video").milliseconds, (Milliseconds{42875, 42875}));
  EXPECT_EQ(row(report, "high-noise expert").flops, 3 * 3e12);
  EXPECT_EQ(row(report, "video").flops, 4 * 3e12 + 5e12);
  EXPECT_EQ(saved, (std::vector<size_t>{1, 2})) << "each video is kept at once";
  EXPECT_EQ(told, (std::vector<std::string>{"1 of 2", "2"}));
  ASSERT_EQ(script.latents.size(), 3u);
  EXPECT_TRUE(script.latents[1].equal(script.latents[2])) << "both start from the same latent";
  // From sigma 0.999 to 0 with a velocity of `guidance`, 4 for most of the way and 3 at its end.
  EXPECT_LT(script.latents[1].max().item<float>(), -3);
  EXPECT_GT(script.latents[1].min().item<float>(), -4.5);
}

TEST(Mlperf, WithoutGuidanceThereIsOneBranchAndNoNegativePrompt) {
  Script script;
  Series series = series_of(script, Scenario::SingleStream);
  series.settings.guidance_2 = 1;
  bench::Report report = measured(script, series);
  EXPECT_NE(script.asked.find("tno"), std::string::npos) << "the high-noise expert is guided";
  EXPECT_EQ(row(report, "high-noise expert").flops, 3 * 2 * 1.5e12);
  EXPECT_EQ(row(report, "low-noise expert").flops, 1.5e12);
  EXPECT_EQ(row(report, "video").flops, 7 * 1.5e12 + 5e12);
  series.settings.guidance = 1;
  script.asked.clear();
  report = measured(script, series);
  EXPECT_EQ(script.asked,
            "tAbhld5"
            "tAbhhhloA1632d9wf"
            "tBbhhhloB1632d9wf");
  EXPECT_EQ(row(report, "text encoder").milliseconds, (Milliseconds{1000, 1000}));
  EXPECT_EQ(row(report, "video").flops, 4 * 1.5e12 + 5e12);
}

TEST(Mlperf, DrawnNetworksRunOneBranchWhereTheGuidanceIsOne) {
  const c10::InferenceMode inference;
  bench::Site site;
  site.device = at::kCPU;
  site.dtype = at::kFloat;
  site.context = kernels::make_context({}, at::kCPU);
  const Settings settings = {.width = 32, .height = 32, .frames = 5, .steps = 2};
  DrawnMaker maker(site, small_sizes(), settings, Precision::Exact);
  const Schedule schedule = schedule_of(settings);
  const Tensor x = at::ones({16, 2, 4, 4}), positive = maker.text("a tram"), negative = maker.text("no");
  Step step = schedule[0];
  maker.begin(positive, negative, schedule);
  const kernels::Velocity guided = maker.velocity(step, x);
  EXPECT_TRUE(guided.unconditional.defined());
  EXPECT_EQ(guided.guidance, 4);
  step.guidance = 1;
  maker.begin(positive, {}, schedule);
  const kernels::Velocity alone = maker.velocity(step, x);
  EXPECT_FALSE(alone.unconditional.defined());
  EXPECT_TRUE(at::allclose(alone.conditional, guided.conditional, 1e-4, 1e-5)) << "sums of one branch, or of two";
}

TEST(Mlperf, AllPromptsAtOnce) {
  Script script;
  std::vector<size_t> saved;
  std::vector<std::string> told;
  const bench::Report report = measured(script, series_of(script, Scenario::Offline), &saved, &told);
  EXPECT_EQ(script.asked,
            "tAtnobhld5"
            "tAtnotBtno"
            "bhhhloA1632d9wf"
            "bhhhloB1632d9wf");
  EXPECT_EQ(row(report, "text encoder").milliseconds, (Milliseconds{1250, 1250}));
  EXPECT_EQ(row(report, "video").milliseconds, Milliseconds{42875}) << "the time of all, by their number";
  EXPECT_TRUE(row(report, "video").shape.ends_with(", offline"));
  EXPECT_EQ(saved, (std::vector<size_t>{1, 2})) << "a run of days that breaks off leaves what it had";
  EXPECT_EQ(told, (std::vector<std::string>{"1 of 2, a part", "2"}));
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
    EXPECT_STREQ(error.what(), "[latent] must be [16, 3, 2, 4] for 32x16, 9 frames, 4 steps, got [16, 2, 4, 2]");
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
  EXPECT_EQ(report.environment.at("shift"), "12");
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
  EXPECT_EQ(refused([](Options& o) { o.shift = std::nan(""); }), "[shift] must be above 0, got nan");
  EXPECT_NE(refused([](Options& o) { o.frames_to = "/nowhere/at/all"; }), "");
}

}  // namespace
}  // namespace wan::mlperf
