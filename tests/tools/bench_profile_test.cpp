// `wan-bench profile`: the time line by a clock that follows a script, its totals, and a small forward on the CPU.
#include "tools/bench/profile.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/linear/linear.h"
#include "tests/support.h"
#include "tools/bench/networks.h"

namespace wan::bench {
namespace {

using kernels::Range, kernels::RangeKind, kernels::RangeWork;

/// Two linears of 3 ms in a block with 1 ms of its own before each, and 2 ms of the phase behind it.
std::vector<TimedRange> scripted() {
  double now = 5;
  const auto pass = [&](double milliseconds) { now += milliseconds / 1000; };
  const auto marks = clock_marks([&] { return now; });
  return time_line(*marks, "forward", [&] {
    {
      const Range block(RangeKind::Block, "block", 7);
      for (int i = 0; i < 2; ++i) {
        pass(1);
        const Range linear("linear", [] {
          return RangeWork{.flops = 6e9, .bytes = 1, .ceiling = "bf16", .rows = 4, .in = 5, .out = 6};
        });
        pass(3);
      }
    }
    pass(2);
  });
}

TEST(BenchProfile, RangesHaveTheirTimesAndPlaces) {
  const std::vector<TimedRange> ranges = scripted();
  ASSERT_EQ(ranges.size(), 4u);
  EXPECT_EQ(ranges[0].name, "forward");
  EXPECT_NEAR(ranges[0].length(), 10, 1e-9);
  EXPECT_NEAR(ranges[0].own, 2, 1e-9);
  EXPECT_EQ(ranges[1].name, "block");
  EXPECT_EQ(ranges[1].number, 7);
  EXPECT_NEAR(ranges[1].own, 2, 1e-9);
  EXPECT_EQ(ranges[3].parent, 1);
  EXPECT_EQ(ranges[3].depth, 2);
  EXPECT_NEAR(ranges[3].begin, 5, 1e-9);
  EXPECT_NEAR(ranges[3].end, 8, 1e-9);
}

TEST(BenchProfile, TotalsAddUpToTheWhole) {
  const std::vector<KernelTotal> totals = totals_of(scripted());
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals[0].name, "linear");
  EXPECT_EQ(totals[0].shape, "4 x 5 to 6");
  EXPECT_EQ(totals[0].calls, 2);
  EXPECT_NEAR(totals[0].total, 6, 1e-9);
  EXPECT_NEAR(totals[0].share, 0.6, 1e-9);
  EXPECT_EQ(totals[1].name, "between operations");
  EXPECT_NEAR(totals[1].share, 0.4, 1e-9);
  Report report;
  report.ceilings["bf16"] = 4e12;
  const std::string text = profile_table(totals, report);
  EXPECT_NE(text.find("| linear | 4 x 5 to 6 | 2 | 6 | 60.0 % | 2 TFLOP/s | 50 % bf16 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| between operations |  | 2 | 4 | 40.0 % |  |  |"), std::string::npos) << text;
  const std::vector<Row> rows = profile_rows(totals, "720p");
  EXPECT_EQ(rows[0].name, "linear, 4 x 5 to 6");
  EXPECT_EQ(rows[0].note, "2 calls, 60.00 % of the forward");
  EXPECT_EQ(rows[0].milliseconds.size(), 2u);
}

TEST(BenchProfile, TheTraceIsOneForChrome) {
  const nlohmann::json trace = nlohmann::json::parse(chrome_trace(scripted(), "a title"));
  const nlohmann::json& events = trace.at("traceEvents");
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0]["ph"], "M");
  EXPECT_EQ(events[0]["args"]["name"], "a title");
  EXPECT_EQ(events[2]["name"], "block 7");
  EXPECT_EQ(events[2]["cat"], "block");
  EXPECT_EQ(events[4]["ph"], "X");
  EXPECT_NEAR(events[4]["ts"].get<double>(), 5000, 1e-6);
  EXPECT_NEAR(events[4]["dur"].get<double>(), 3000, 1e-6);
  EXPECT_EQ(events[4]["tid"], 2);
  EXPECT_EQ(events[4]["args"]["flops"], 6e9);
}

TEST(BenchProfile, ATensOperationsCountOutsideOfOurs) {
  const c10::InferenceMode inference;
  const auto marks = clock_marks();
  const at::Tensor x = at::ones({4, 8}), weight = at::ones({16, 8});
  const auto ranges = time_line(*marks, "all", [&] {
    at::add(x, x);
    kernels::linear(x, weight, {});
  });
  std::vector<std::string> names;
  for (const TimedRange& range : ranges) names.push_back((range.ours ? "" : "aten ") + range.name);
  EXPECT_EQ(names, (std::vector<std::string>{"all", "aten aten::add", "linear"})) << "none of what a linear is made of";
  at::add(x, x);  // nobody looks any more
  EXPECT_EQ(time_line(*marks, "again", [] {}).size(), 1u);
}

TEST(BenchProfile, AForwardOnTheCpu) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  ProfileOptions options;
  options.trace = (folder / "trace.json").string();
  const Profile result = profile(options);
  double share = 0, counted = 0;
  std::map<std::string, int64_t> calls;
  for (const KernelTotal& total : result.totals) {
    share += total.share;
    calls[total.name] += total.calls;
    counted += double(total.calls) * total.work.flops;
    EXPECT_GE(total.share, -1e-9) << total.name;  // differences of clock readings
  }
  EXPECT_NEAR(share, 1, 1e-6);
  // Two blocks: self- and cross-attention; eight linears each (q, k, v, o; q, o; feed-forward), since the text's keys
  // and values are there from the warm-up.
  EXPECT_EQ(calls["attention"], 4);
  EXPECT_GE(calls["linear"], 2 * 8);
  EXPECT_EQ(calls["qk_norm_rope"], 2);
  const WanConfig config{256, 384, 64, 16, 16, 2, 2, 32, 1e-6};
  const double blocks = 2 * block_flops(config, 2 * 8 * 8);
  EXPECT_GT(counted, blocks);
  EXPECT_LT(counted, 1.3 * blocks) << "and the patches, the time and the head";
  EXPECT_GT(result.report.ceilings.at("fp32"), 0);
  EXPECT_EQ(result.report.environment.at("network"), "small, of 2 blocks");
  std::ostringstream text;
  text << std::ifstream(folder / "trace.json").rdbuf();
  EXPECT_GT(nlohmann::json::parse(text.str())["traceEvents"].size(), 20u);
  EXPECT_EQ(to_json(report_of(to_json(result.report), "x")), to_json(result.report));
}

TEST(BenchProfile, OfTheWholeNetworkOnACardIsFitToBePublished) {
  Report report;
  report.commit = "abc";
  for (const char* key : {"gpu", "driver", "cuda", "torch", "clocks_before", "clocks_after"})
    report.environment[key] = "x";
  report.rows = profile_rows(totals_of(scripted()), "720p");
  report.rows.back().milliseconds = {0};  // no gap that events can tell
  EXPECT_EQ(complaints(report), std::vector<std::string>());
  report.environment[kNetwork] = "small, of 2 blocks";
  EXPECT_EQ(complaints(report), std::vector<std::string>{"of a network that is small, of 2 blocks"});
}

TEST(BenchProfile, WordsThatAreNotKnown) {
  ProfileOptions options;
  options.precision = "fp8";
  EXPECT_THROW(profile(options), std::invalid_argument);
}

}  // namespace
}  // namespace wan::bench
