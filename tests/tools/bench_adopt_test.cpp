// What figures say of the defaults, and what is written of them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"
#include "tools/bench/adopt.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;

Row row_of(const std::string& name, const std::string& shape, const std::string& backend, double milliseconds,
           double flops = 1e15, bool ours = true) {
  return {.suite = name.starts_with("forward") ? "step" : "ops",
          .name = name,
          .shape = shape,
          .backend = backend,
          .ours = ours,
          .milliseconds = {milliseconds, milliseconds, milliseconds},
          .flops = flops,
          .ceiling = "bf16",
          .error = 1e-3,
          .bound = 1e-2,
          .note = {}};
}

const std::string kTokens = "720p, 75600 tokens", kPixels = "96 channels, 4 frames of 1280x720";

Report report_of_rows(std::vector<Row> rows) {
  return {.command = "wan-bench step",
          .commit = "c0ffee",
          .environment = {{"gpu", "NVIDIA H200"},
                          {"driver", "580.65"},
                          {"cuda", "13000"},
                          {"torch", "2.11.0"},
                          {"clocks_before", "1980 MHz"},
                          {"clocks_after", "1755 MHz"}},
          .ceilings = {{"bf16", 8e14}},
          .rows = std::move(rows),
          .left_out = {}};
}

Findings findings_of(std::vector<Row> rows, const std::string& wgmma = "done") {
  Findings findings{.date = "2026-01-31", .rehearsal = false, .states = {{"wgmma-tests", wgmma}}, .reports = {}};
  findings.reports["step-720p.json"] = report_of_rows(std::move(rows));
  return findings;
}

/// The line of the decision whose subject begins so.
std::string line_of(const Findings& findings, const std::string& subject) {
  std::istringstream lines(to_text(decide(findings)));
  for (std::string line; std::getline(lines, line);)
    if (line.find(" " + subject) != std::string::npos) return line;
  return "no such line";
}

/// Milliseconds in which 1e15 operations make so many TFLOP/s.
double at_rate(double tflops) {
  return 1e15 / (tflops * 1e12) * 1000;
}

TEST(Adopt, WithoutFiguresNothingChanges) {
  for (const Decision& decision : decide(findings_of({}))) {
    EXPECT_EQ(decision.verdict, Decision::Verdict::NotMeasured) << decision.subject;
    EXPECT_TRUE(decision.why.starts_with("no figure of ")) << decision.why;
  }
  EXPECT_EQ(decide(findings_of({})).size(), 9u);
}

TEST(Adopt, WgmmaWantsItsRateAndItsTests) {
  const auto with = [](double rate, const std::string& tests) {
    return line_of(findings_of({row_of("self-attention", kTokens, "8+16 wgmma", at_rate(rate))}, tests),
                   "wgmma for 8-bit");
  };
  EXPECT_TRUE(with(780, "done").starts_with("CHANGE")) << with(780, "done");
  EXPECT_NE(with(780, "done").find("8+16 wgmma 780 TFLOP/s, at least 760 wanted; its tests passed"), std::string::npos);
  EXPECT_TRUE(with(740, "done").starts_with("keep"));
  EXPECT_TRUE(with(780, "time ended").starts_with("keep"));
  const auto halves = [](double library, double own) {
    return line_of(findings_of({row_of("self-attention", kTokens, "cudnn", at_rate(library), 1e15, false),
                                row_of("self-attention", kTokens, "wgmma", at_rate(own))}),
                   "wgmma among");
  };
  EXPECT_TRUE(halves(540, 600).starts_with("CHANGE")) << halves(540, 600);
  EXPECT_TRUE(halves(600, 700).starts_with("keep"));
  EXPECT_TRUE(halves(540, 500).starts_with("keep"));
}

TEST(Adopt, EightBitsMustBeWorthTheirRounding) {
  const auto values = [](double own) {
    return line_of(findings_of({row_of("self-attention", kTokens, "cudnn", 130, 1e15, false),
                                row_of("self-attention", kTokens, "8+8 mma", 300),
                                row_of("self-attention", kTokens, "8+8 wgmma", own)}),
                   "8-bit values");
  };
  EXPECT_TRUE(values(95).starts_with("keep")) << values(95);
  EXPECT_TRUE(values(105).starts_with("CHANGE"));
  const auto products = [](double second) {
    return line_of(findings_of({row_of("qkv", kTokens, "at::linear", 100, 1e15, false),
                                row_of("qkv", kTokens, "kernels::linear_int8", 60),
                                row_of("ffn", kTokens, "at::linear", 200, 1e15, false),
                                row_of("ffn", kTokens, "kernels::linear_int8", second)}),
                   "own 8-bit linears");
  };
  EXPECT_TRUE(products(120).starts_with("keep")) << products(120);
  EXPECT_TRUE(products(160).starts_with("CHANGE")) << "the slowest of them counts";
  EXPECT_NE(products(160).find("ffn"), std::string::npos);
  const auto halves = [](double time) {
    return line_of(findings_of({row_of("self-attention", kTokens, "8+8 mma", 100),
                                row_of("self-attention", kTokens, "8+8 mma half sums", time)}),
                   "sums of 8-bit values");
  };
  EXPECT_TRUE(halves(94).starts_with("CHANGE")) << halves(94);
  EXPECT_TRUE(halves(97).starts_with("keep"));
}

TEST(Adopt, ConvolutionsAndPrecisions) {
  const auto find = [](double plain, double tuned, const std::string& subject) {
    return line_of(findings_of({row_of("VAE convolution", kPixels, "channels last fp16", plain),
                                row_of("VAE convolution", kPixels, "channels last fp16, tuned", tuned)}),
                   subject);
  };
  EXPECT_TRUE(find(at_rate(340), at_rate(345), "the library's convolution").starts_with("CHANGE"));
  EXPECT_TRUE(find(at_rate(360), at_rate(365), "the library's convolution").starts_with("keep"));
  EXPECT_TRUE(find(100, 90, "cuDNN measures").starts_with("CHANGE"));
  EXPECT_TRUE(find(100, 99, "cuDNN measures").starts_with("keep"));
  const auto balanced = [](double time) {
    return line_of(findings_of({row_of("forward", kTokens, "wan-infer", 10500),
                                row_of("forward, balanced", kTokens, "wan-infer", time),
                                row_of("forward, balanced, wgmma", kTokens, "wan-infer", 8000)}),
                   "the warning that precision balanced");
  };
  EXPECT_TRUE(balanced(14000).starts_with("keep")) << balanced(14000);
  EXPECT_NE(balanced(14000).find("forward, balanced, wan-infer is 0.75 times"), std::string::npos) << balanced(14000);
  EXPECT_NE(balanced(14000).find("forward, balanced, wgmma, wan-infer is 1.31 times"), std::string::npos);
  EXPECT_TRUE(balanced(9000).starts_with("CHANGE"));
}

class AdoptFiles : public testing::Test {
 protected:
  AdoptFiles() {
    std::ofstream(root_ / "README.md")
        << "before\n<!-- measured on a GPU -->\nnothing yet\n<!-- end of measured on a GPU -->\nafter\n";
  }
  bool adopted(const Findings& findings, bool dry = false) {
    std::ostringstream out;
    const bool written = adopt(findings, root_.path(), dry, out);
    said_ = out.str();
    return written;
  }
  TemporaryFolder root_;
  std::string said_;
};

TEST_F(AdoptFiles, WritesWhatIsFitAndTheTable) {
  Findings findings = findings_of({row_of("forward", kTokens, "wan-infer", 10500)});
  findings.reports["diffusers.json"] = report_of_rows({row_of("forward", kTokens, "eager", 21000, 1e15, false)});
  findings.reports["vae.json"] = report_of_rows({row_of("forward", "480p", "wan-infer", 3)});
  findings.reports["vae.json"].commit = "unknown";
  EXPECT_TRUE(adopted(findings)) << said_;
  const fs::path folder = root_ / "results/nvidia-h200/2026-01-31";
  EXPECT_TRUE(complaints(read_report(folder / "step-720p.json")).empty());
  EXPECT_TRUE(fs::exists(folder / "step-720p.svg"));
  EXPECT_FALSE(fs::exists(folder / "vae.json"));
  EXPECT_NE(said_.find("left out: vae.json: no commit"), std::string::npos) << said_;
  const std::string readme = content(root_ / "README.md");
  EXPECT_NE(readme.find("| NVIDIA H200 | forward, 720p, 75600 tokens | 10.5 s | eager 21 s | 2.00 | c0ffee |"),
            std::string::npos)
      << readme;
  EXPECT_NE(readme.find("(results/nvidia-h200/2026-01-31/step-720p.json)"), std::string::npos) << readme;
  EXPECT_EQ(readme.find("nothing yet"), std::string::npos);
  EXPECT_TRUE(readme.starts_with("before\n") && readme.ends_with("\nafter\n"));
  EXPECT_TRUE(adopted(findings)) << "again, over what was written: " << said_;
  EXPECT_EQ(content(root_ / "README.md"), readme);
}

TEST(Adopt, AVideoStandsBesideWhatIsPublishedForItsCard) {
  Findings findings = findings_of({});
  findings.reports.clear();
  Report& report = findings.reports["mlperf.json"] = report_of_rows({});
  report.environment["weights"] = "drawn";
  const auto video = [](const std::string& system, double seconds, const std::string& published) {
    Row row = row_of("video", "1280x720, 81 frames, 20 steps, single stream", system, 1000 * seconds, 0, false);
    row.suite = "mlperf";
    row.ours = published.empty();
    row.published = published;
    return row;
  };
  report.rows = {video("wan-infer, exact", 400, ""), video("8x H200, 8-bit attention", 441, "a round, closed"),
                 video("8x H200, step cache", 332, "a round, open"), video("8x B200", 172, "a round")};
  report.rows.push_back(report.rows[0]);
  report.rows.back().name = "VAE decode";
  EXPECT_EQ(
      headline(findings),
      "| GPU | case | wan-infer | fastest other | times as fast | commit |\n|---|---|---|---|---|---|\n"
      "| NVIDIA H200 | one MLPerf video, 1280x720, 81 frames, 20 steps, single stream, wan-infer, exact, weights: "
      "drawn | 400 s | published, not measured here: 8x H200, step cache, 332 s (a round, open) | 0.83 | c0ffee "
      "|\n");
  report.environment["gpu"] = "NVIDIA H20";  // no beginning of another's name
  EXPECT_NE(headline(findings).find("| 400 s | none published for this card |  | c0ffee |"), std::string::npos)
      << headline(findings);
}

TEST_F(AdoptFiles, WhatIsNotFitDecidesNothing) {
  Findings findings = findings_of({row_of("self-attention", kTokens, "8+16 wgmma", at_rate(780))});
  adopted(findings, /*dry=*/true);
  EXPECT_NE(said_.find("CHANGE       wgmma for 8-bit"), std::string::npos) << said_;
  Row wrong = row_of("self-attention", kTokens, "wgmma", 100);
  wrong.error = 2 * wrong.bound;
  findings.reports.begin()->second.rows.push_back(wrong);
  adopted(findings, /*dry=*/true);
  EXPECT_NE(said_.find("left out: step-720p.json: "), std::string::npos) << said_;
  EXPECT_EQ(said_.find("CHANGE"), std::string::npos) << said_;
  EXPECT_NE(said_.find("no figure of self-attention at 720p, 8+16 wgmma"), std::string::npos) << said_;
}

TEST_F(AdoptFiles, OfARehearsalNothingIsWritten) {
  const std::string before = content(root_ / "README.md");
  Findings played = findings_of({row_of("forward", kTokens, "wan-infer", 10500)});
  played.rehearsal = true;
  EXPECT_FALSE(adopted(played));
  Findings invented = findings_of({row_of("forward", kTokens, "wan-infer", 10500)});
  invented.reports.begin()->second.environment["gpu"] = "stand-in: a rehearsal, nothing was measured";
  EXPECT_FALSE(adopted(invented));
  EXPECT_NE(said_.find("nothing is written: these are timings of a rehearsal"), std::string::npos) << said_;
  EXPECT_EQ(complaints(invented.reports.begin()->second).size(), 1u);
  EXPECT_TRUE(adopted(findings_of({row_of("forward", kTokens, "wan-infer", 10500)}), /*dry=*/true));
  EXPECT_EQ(content(root_ / "README.md"), before);
  EXPECT_FALSE(fs::exists(root_ / "results"));
}

TEST_F(AdoptFiles, AReadmeWithoutItsSectionIsToldBeforeAnythingIsWritten) {
  std::ofstream(root_ / "README.md") << "another\n";
  EXPECT_THROW(adopted(findings_of({row_of("forward", kTokens, "wan-infer", 10500)})), std::invalid_argument);
  EXPECT_FALSE(fs::exists(root_ / "results"));
  EXPECT_EQ(with_section(content(WAN_SOURCE_DIR "/README.md"), "measured on a GPU", "\n").find("no table and no plot"),
            std::string::npos);
}

TEST_F(AdoptFiles, WhatARehearsalLeavesIsRead) {
  const std::string command =
      "bash " WAN_SOURCE_DIR
      "/tools/gpu_check.sh --rehearse --parts 'step-720p vae ops-vae diffusers profile mlperf' " +
      (root_ / "out").string() + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const Findings findings = read_findings(root_ / "out");
  EXPECT_TRUE(findings.rehearsal);
  EXPECT_EQ(findings.date.size(), 10u);
  EXPECT_EQ(findings.states.at("vae"), "done");
  EXPECT_EQ(findings.reports.size(), 6u);
  EXPECT_FALSE(std::filesystem::exists(root_ / "out/ops-vae.json")) << "there is no room for it";
  EXPECT_EQ(findings.reports.at("ops-vae.json").rows.at(0).name, "VAE convolution");
  EXPECT_NE(headline(findings).find("| one MLPerf video, "), std::string::npos) << headline(findings);
  EXPECT_FALSE(adopted(findings));
  EXPECT_NE(said_.find("forward, 720p, 75600 tokens"), std::string::npos) << said_;
  const std::string archive = content(root_ / "out/results.tar.gz");
  std::ofstream(root_ / "out/results.tar.gz") << archive.substr(0, archive.size() / 2);
  EXPECT_THROW(read_findings(root_ / "out"), std::invalid_argument);
  std::filesystem::remove(root_ / "out/results.tar.gz");
  EXPECT_EQ(read_findings(root_ / "out").reports.size(), 4u) << "what lies beside it";
  std::ofstream(root_ / "out/plan.json") << "{\"schema\": 1, \"pa";
  EXPECT_THROW(read_findings(root_ / "out"), std::invalid_argument);
  fs::remove(root_ / "out/plan.json");
  EXPECT_THROW(read_findings(root_ / "out"), std::invalid_argument);
}

}  // namespace
}  // namespace wan::bench
