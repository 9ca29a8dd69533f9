// The instrument itself, with timers that follow a script: nothing here depends on how fast this machine is.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "tools/bench/child.h"
#include "tools/bench/contest.h"
#include "tools/bench/measure.h"
#include "tools/bench/report.h"
#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

TEST(Bench, QuantilesAreLinearBetweenNeighbours) {
  const Summary summary = summarise({5, 1, 4, 2, 3});
  EXPECT_DOUBLE_EQ(summary.median, 3);
  EXPECT_DOUBLE_EQ(summary.p10, 1.4);
  EXPECT_DOUBLE_EQ(summary.p90, 4.6);
  EXPECT_THROW(summarise({}), std::invalid_argument);
}

/// Every launch costs what its contestant is said to cost; the timer adds up what ran.
struct Script {
  std::string launched;
  std::vector<size_t> sets;
  double clock = 0;

  Launch contestant(char name, double milliseconds) {
    return [=, this](size_t set) {
      launched += name;
      sets.push_back(set);
      clock += milliseconds;
    };
  }
  Timer timer() {
    return [this](const std::function<void()>& run) {
      const double before = clock;
      run();
      return clock - before;
    };
  }
};

TEST(Bench, ContestantsTakeTurnsAndInputsRotate) {
  Script script;
  const Effort effort{
      .warmups = 1, .launches = 2, .sample_milliseconds = 100, .samples = 3, .contestant_milliseconds = 1e9};
  const auto samples =
      measure_in_turns({script.contestant('a', 1), script.contestant('b', 3)}, 3, script.timer(), effort);
  // A warm-up and a pilot each, then A A B B three times.
  EXPECT_EQ(script.launched,
            "aabb"
            "aabbaabbaabb");
  EXPECT_EQ(samples, (std::vector<std::vector<double>>{{1, 1, 1}, {3, 3, 3}}));
  EXPECT_EQ(std::vector<size_t>(script.sets.begin(), script.sets.begin() + 8),
            (std::vector<size_t>{0, 1, 0, 1, 2, 0, 2, 0}));
}

TEST(Bench, LongLaunchesAreSampledLess) {
  Script script;
  const Effort effort{
      .warmups = 3, .launches = 20, .sample_milliseconds = 500, .samples = 9, .contestant_milliseconds = 5000};
  const auto samples =
      measure_in_turns({script.contestant('s', 9000), script.contestant('f', 0.1)}, 1, script.timer(), effort);
  EXPECT_EQ(samples[0].size(), 3u);
  EXPECT_EQ(samples[1].size(), 9u);
  EXPECT_EQ(std::count(script.launched.begin(), script.launched.end(), 's'), 1 + 1 + 3) << "one warm-up is enough";
  EXPECT_EQ(std::count(script.launched.begin(), script.launched.end(), 'f'), 3 + 1 + 9 * 20);
}

TEST(Bench, ABudgetEnds) {
  double now = 10;
  const Budget budget(5, [&] { return now; });
  EXPECT_FALSE(budget.spent());
  now = 15;
  EXPECT_TRUE(budget.spent());
}

Contest contest_of(const Tensor& want) {
  return {.flops = 2e9,
          .bytes = 1e6,
          .ceiling = "bf16",
          .sets = 1,
          .error = [want](const Tensor& out) { return relative_l2(out, want); },
          .bound = 1e-3,
          .contestants = {}};
}

TEST(Bench, OnlyWhatIsRightIsTimed) {
  const Tensor want = at::arange(8, at::kDouble);
  int timed = 0;
  const Plan plan = {
      "ops", "sum", "8", [&] {
        Contest contest = contest_of(want);
        contest.contestants = {
            {"right", true, [=](size_t) { return want; }},
            {"wrong", false, [=](size_t) { return want + 1; }},
            {"nan", false, [=](size_t) { return want * NAN; }},
            {"short", false, [=](size_t) { return want.narrow(0, 0, 7); }},
            {"absent", false, [](size_t) -> Tensor { TORCH_CHECK(false, "no such kernel"); }},
            {"scaled", false, [=](size_t) { return want * 2; }, "", [](const Tensor& y) { return y / 2; }}};
        return contest;
      }};
  const Stopwatch stopwatch = {[&](const std::function<void()>& run) {
                                 run();
                                 return double(++timed);
                               },
                               {.warmups = 1, .launches = 1, .samples = 3}};
  Report report;
  run_plans({plan}, stopwatch, Budget(1e9), report);
  ASSERT_EQ(report.rows.size(), 2u);
  EXPECT_EQ(report.rows[0].backend, "right");
  EXPECT_EQ(report.rows[0].error, 0);
  EXPECT_EQ(report.rows[1].backend, "scaled");
  ASSERT_EQ(report.left_out.size(), 4u);
  EXPECT_NE(report.left_out[0].why.find("wrong: relative L2"), std::string::npos);
  EXPECT_NE(report.left_out[1].why.find("inf"), std::string::npos);
  EXPECT_NE(report.left_out[3].why.find("no such kernel"), std::string::npos);
}

TEST(Bench, PlansBeyondTheBudgetAreNamed) {
  Report report;
  const Plan plan = {"ops", "sum", "8", []() -> Contest { throw std::logic_error("must not be set up"); }};
  run_plans({plan}, {wall_milliseconds, {}}, Budget(0), report);
  ASSERT_EQ(report.left_out.size(), 1u);
  EXPECT_EQ(report.left_out[0].why, "the budget was spent");
}

/// A result fit to be published: ours in 2 ms, a library in 3.
Report good_report() {
  Report report{.command = "wan-bench ops",
                .commit = "abc",
                .environment = {},
                .ceilings = {{"bf16", 2e12}, {"copy", 4e12}},
                .rows = {},
                .left_out = {}};
  for (const char* key : {"gpu", "driver", "cuda", "torch", "clocks_before", "clocks_after"})
    report.environment[key] = "x";
  Row row{.suite = "ops",
          .name = "linear",
          .shape = "64",
          .backend = "own",
          .ours = true,
          .milliseconds = {2, 2, 2, 2, 7},
          .flops = 2e9,
          .bytes = 1e7,
          .ceiling = "bf16",
          .error = 1e-3,
          .bound = 2e-3,
          .peak_bytes = 0,
          .note = ""};
  report.rows = {row, row};
  report.rows[1].backend = "library <x>";
  report.rows[1].ours = false;
  report.rows[1].milliseconds = {3, 3, 3};
  return report;
}

TEST(Bench, TheFileKeepsEverything) {
  Report report = good_report();
  report.left_out.push_back({"ops", "linear", "64", "fp8", "not on this card"});
  const nlohmann::json json = to_json(report);
  EXPECT_EQ(json["rows"][0]["milliseconds"]["median"], 2);
  EXPECT_EQ(to_json(report_of(json, "x")), json);
  nlohmann::json other = json;
  other["schema"] = kSchema + 1;
  EXPECT_THROW(report_of(other, "x"), std::invalid_argument);
  other = json;
  other["rows"][0].erase("error");
  EXPECT_THROW(report_of(other, "x"), std::invalid_argument);
  other = json;
  other["rows"][0]["milliseconds"]["samples"] = nlohmann::json::array();
  EXPECT_THROW(report_of(other, "x"), std::invalid_argument);
  EXPECT_THROW(report_of(nlohmann::json::array(), "x"), std::invalid_argument);
}

TEST(Bench, TheTableSaysShareAndRatio) {
  const std::string text = table(good_report());
  EXPECT_NE(text.find("| linear | 64 | **own** | 2 (2-5) | 1 TFLOP/s | 50 % bf16 | 1.50 | 1.00e-03 |"),
            std::string::npos)
      << text;
}

TEST(Bench, WhatLacksCeilingsOrErrorsIsNotPublished) {
  EXPECT_TRUE(complaints(good_report()).empty());
  const auto spoilt = [](auto spoil) {
    Report report = good_report();
    spoil(report);
    return complaints(report).size();
  };
  EXPECT_EQ(spoilt([](Report& r) { r.ceilings.erase("bf16"); }), 2u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows[0].error = -1; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows[0].error = NAN; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows[0].error = 1; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows[0].milliseconds = {1, 2}; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows[0].milliseconds[1] = 0; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.commit = "unknown"; }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.environment.erase("gpu"); }), 1u);
  EXPECT_EQ(spoilt([](Report& r) { r.rows.clear(); }), 1u);
}

TEST(Bench, CommittedResultsAreFitToBePublished) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(WAN_SOURCE_DIR) + "/results")) {
    if (entry.path().extension() != ".json") continue;
    for (const std::string& complaint : complaints(read_report(entry.path())))
      ADD_FAILURE() << entry.path() << ": " << complaint;
  }
}

TEST(Bench, ComparesBackEndsOfOneNameElseTheFastest) {
  const Report a = good_report();
  Report b = good_report();
  b.rows[0].milliseconds = {4, 4, 4};
  EXPECT_NE(compare(a, b).find("| linear | 64 | own | 2 | own | 4 | 2.00x |"), std::string::npos) << compare(a, b);
  b.rows[0].backend = "eager";
  b.rows[1].backend = "compiled";
  const std::string text = compare(a, b);
  EXPECT_NE(text.find("| linear | 64 | own | 2 | compiled | 3 | 1.50x |"), std::string::npos) << text;
  EXPECT_EQ(text.find("eager"), std::string::npos);
}

TEST(Bench, WhatOthersPublishedIsMarkedAndNotCompared) {
  Report a = good_report(), b = good_report();
  for (Report* report : {&a, &b}) {
    Row row = report->rows[0];
    row.ours = false;
    row.backend = "8x H200";
    row.published = "a round";
    row.milliseconds = {0.5, 0.5, 0.5};
    report->rows.insert(report->rows.begin(), row);
  }
  EXPECT_EQ(compare(a, b), compare(good_report(), good_report()));
  b.rows[1].backend = b.rows[2].backend = "another";  // none is shared: the fastest that was measured stands
  EXPECT_EQ(compare(a, b).find("8x H200"), std::string::npos) << compare(a, b);
  EXPECT_NE(table(a).find("| 8x H200 (published, not measured here) |"), std::string::npos) << table(a);
}

TEST(Bench, TheRooflineHoldsEveryPointAndCeiling) {
  const std::string svg = roofline(good_report());
  size_t circles = 0;
  for (size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++circles;
  EXPECT_EQ(circles, 2u);
  EXPECT_NE(svg.find(">bf16 2<"), std::string::npos);
  EXPECT_NE(svg.find("library &lt;x&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(Bench, SampledRowsHoldBothEnds) {
  const Tensor rows = sampled_rows(75600, at::kCPU);
  EXPECT_EQ(rows.numel(), 512);
  EXPECT_EQ(rows[0].item<int64_t>(), 0);
  EXPECT_EQ(rows[511].item<int64_t>(), 75599);
  EXPECT_TRUE((rows.diff() > 0).all().item<bool>());
  EXPECT_EQ(sampled_rows(3, at::kCPU).numel(), 3);
}

TEST(Bench, ChildrenAreMeasuredFromOutside) {
  const ChildResult result = run_child({"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; sleep 0.05; exit 7"});
  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(result.out, std::string(100000, 'x'));
  EXPECT_GE(result.seconds, 0.05);
  EXPECT_GT(result.peak_mb, 0);
  EXPECT_LT(result.peak_mb, 50) << "the shell's, not that of this process";
  EXPECT_THROW(run_child({"/no/such/program"}), std::runtime_error);
}

TEST(Bench, TheProgramSaysWhatItCannotDo) {
  const std::string program = std::string(WAN_BINARY_DIR) + "/tools/wan-bench";
  EXPECT_EQ(run_child({program, "cpu", "no_such_row"}, true).status, 2);
  EXPECT_EQ(run_child({program, "ops", "--no-such-flag"}, true).status, 2);
  EXPECT_EQ(run_child({program, "compare", "/no/such/a.json", "/no/such/b.json"}, true).status, 2);
  EXPECT_EQ(run_child({program, "all", "--help"}, true).status, 0);
  if (at::hasCUDA()) GTEST_SKIP() << "a GPU is here";
  for (const char* command : {"ceilings", "all"})
    EXPECT_EQ(run_child({program, command, "--budget", "5"}, true).status, 4) << command;
}

TEST(Bench, TheProgramComparesAndDrawsFiles) {
  const std::string program = std::string(WAN_BINARY_DIR) + "/tools/wan-bench";
  TemporaryFolder folder;
  const std::string a = folder / "a.json", b = folder / "b.json", plot = folder / "a.svg";
  Report slower = good_report();
  slower.rows[0].milliseconds = {4, 4, 4};
  write_file(a, to_json(good_report()).dump());
  write_file(b, to_json(slower).dump());
  const ChildResult compared = run_child({program, "compare", a, b});
  EXPECT_EQ(compared.status, 0);
  EXPECT_NE(compared.out.find("| linear | 64 | own | 2 | own | 4 | 2.00x |"), std::string::npos) << compared.out;
  EXPECT_EQ(run_child({program, "show", a, "--plot", plot}, true).status, 0);
  const std::string drawn{std::istreambuf_iterator<char>(std::ifstream(plot).rdbuf()), {}};
  EXPECT_EQ(drawn, roofline(good_report()));
}

}  // namespace
}  // namespace wan::bench
