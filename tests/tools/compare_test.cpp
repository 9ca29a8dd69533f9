// wan-infer compare: table, JSON and plot of what was found, and the program.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "engine/compare/compare.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/lpips_weights.h"
#include "tests/tools/process.h"
#include "tools/cli/compare_output.h"
#include "tools/cli/compare_plot.h"

namespace wan {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const std::string kGolden = WAN_SOURCE_DIR "/tests/golden/compare/";

/// A comparison at 10 frames a second with these values of PSNR.
Comparison made_up(const std::vector<double>& psnr) {
  Comparison comparison;
  comparison.a = {
      "a & b.mp4", {.width = 64, .height = 48, .rate = {30000, 1001}, .frames = int64_t(psnr.size())}, false};
  comparison.b = {"<c>.png", {.width = 64, .height = 48, .rate = {}, .frames = 1}, true};
  for (size_t i = 0; i < psnr.size(); ++i) comparison.times.push_back(double(i) / 10);
  comparison.measures = {
      {.name = "psnr", .shown = "PSNR", .unit = "dB", .values = psnr},
      {.name = "ssim", .shown = "SSIM", .unit = "", .values = {}},
      {.name = "lpips", .shown = "LPIPS (AlexNet)", .unit = "", .worse = Worse::Higher, .values = {}}};
  for (const double value : psnr) {
    comparison.measures[1].values.push_back(std::isfinite(value) ? value / 50 : 1);
    comparison.measures[2].values.push_back(std::isfinite(value) ? 1 / value : 0);
    comparison.equal_frames += !std::isfinite(value);
  }
  comparison.mean_squared_error = size_t(comparison.equal_frames) == psnr.size() ? 0 : 6.5025;
  return comparison;
}

nlohmann::json json_of(const Comparison& comparison) {
  std::ostringstream out;
  write_json(comparison, out);
  return nlohmann::json::parse(out.str());
}

/// Whether every element of a text in XML is closed, and no sign stands bare.
testing::AssertionResult is_well_formed(const std::string& xml) {
  static const std::regex form("<(/?)([a-z]+)((?: [a-z0-9A-Z-]+=\"[^\"<]*\")*)(/?)>");
  std::vector<std::string> open;
  size_t at = 0;
  for (std::sregex_iterator tag(xml.begin(), xml.end(), form), end; tag != end; ++tag) {
    const std::string between = xml.substr(at, size_t(tag->position()) - at);
    if (between.find('<') != std::string::npos) return testing::AssertionFailure() << "a bare < in " << between;
    at = size_t(tag->position() + tag->length());
    const std::string name = (*tag)[2];
    if ((*tag)[1] == "/") {
      if (open.empty() || open.back() != name) return testing::AssertionFailure() << "</" << name << "> closes nothing";
      open.pop_back();
    } else if ((*tag)[4] != "/") {
      open.push_back(name);
    }
  }
  if (!open.empty()) return testing::AssertionFailure() << open.back() << " is not closed";
  if (xml.find('<', at) != std::string::npos) return testing::AssertionFailure() << "a bare < at the end";
  const std::regex bare("&(?!(amp|lt|gt|quot);)");
  if (std::regex_search(xml, bare)) return testing::AssertionFailure() << "a bare &";
  return testing::AssertionSuccess();
}

/// All points of the lines of a plot.
std::vector<std::pair<double, double>> points_of(const std::string& svg) {
  std::vector<std::pair<double, double>> points;
  const std::regex line("points=\"([^\"]*)\""), point("([0-9.]+),([0-9.]+)");
  for (std::sregex_iterator found(svg.begin(), svg.end(), line), end; found != end; ++found) {
    const std::string list = (*found)[1];
    for (std::sregex_iterator each(list.begin(), list.end(), point); each != end; ++each)
      points.emplace_back(std::stod((*each)[1]), std::stod((*each)[2]));
  }
  return points;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST(CompareOutput, TheTableHasARowForEachMeasure) {
  EXPECT_EQ(to_text(made_up({40, 30, 25, 20})),
            "A  a & b.mp4  64x48, 4 frames, 29.97 a second\n"
            "B  <c>.png  64x48, a picture\n"
            "4 frames compared in 8-bit RGB, none identical\n"
            "\n"
            "                   mean   worst  frame      at  drift a second  first quarter  last quarter\n"
            "PSNR dB           28.75   20.00      3  0.30 s         -65.000          40.00         20.00\n"
            "SSIM             0.5750  0.4000      3  0.30 s        -1.30000         0.8000        0.4000\n"
            "LPIPS (AlexNet)  0.0371  0.0500      3  0.30 s        +0.08167         0.0250        0.0500\n");
}

TEST(CompareOutput, EqualFramesAreToldAndHaveNoNumber) {
  const std::string some = to_text(made_up({40, kInfinity, 20}));
  EXPECT_NE(some.find("3 frames compared in 8-bit RGB, 1 identical\n"), std::string::npos) << some;
  EXPECT_NE(some.find("PSNR dB           30.00   20.00 "), std::string::npos) << some;
  EXPECT_NE(some.find("that of the mean error of all frames is 40.00 dB."), std::string::npos) << some;
  const std::string all = to_text(made_up({kInfinity, kInfinity}));
  EXPECT_NE(all.find("2 frames compared in 8-bit RGB, all identical\n"), std::string::npos) << all;
  EXPECT_TRUE(std::regex_search(all, std::regex("PSNR dB +identical +- +- +- +- +- +-\n"))) << all;
  EXPECT_NE(to_text(made_up({40})).find("1 frame compared in 8-bit RGB, none identical\n"), std::string::npos);
}

TEST(CompareOutput, JsonHasEveryFrameAndNoInfinity) {
  Comparison comparison = made_up({40, kInfinity, 20, 30});
  comparison.notes = {{"B", "has 5 frames", ""}};
  const nlohmann::json json = json_of(comparison);
  EXPECT_EQ(
      json["a"],
      (nlohmann::json{{"file", "a & b.mp4"}, {"width", 64}, {"height", 48}, {"frames", 4}, {"rate", 30000.0 / 1001}}));
  EXPECT_EQ(json["b"]["rate"], nullptr);
  EXPECT_EQ(json["frames"], 4);
  EXPECT_EQ(json["identical_frames"], 1);
  EXPECT_EQ(json["notes"], (nlohmann::json{{{"subject", "B"}, {"text", "has 5 frames"}}}));
  const nlohmann::json& psnr = json["psnr"];
  EXPECT_EQ(psnr["better"], "higher");
  EXPECT_EQ(psnr["frames"], 3);
  EXPECT_EQ(psnr["mean"], 30);
  EXPECT_DOUBLE_EQ(psnr["of_mean_error"].get<double>(), 40);
  EXPECT_EQ(psnr["worst"], (nlohmann::json{{"frame", 2}, {"time", .2}, {"value", 20}}));
  EXPECT_EQ(psnr["drift"]["first_quarter"], 40);
  EXPECT_EQ(psnr["drift"]["last_quarter"], 30);
  EXPECT_EQ(psnr["drift"]["change"], -10);
  EXPECT_TRUE(psnr["drift"]["per_second"].is_number());
  EXPECT_EQ(json["lpips"]["better"], "lower");
  EXPECT_EQ(json["lpips"]["of"], "LPIPS (AlexNet)");
  ASSERT_EQ(json["per_frame"].size(), 4u);
  EXPECT_EQ(json["per_frame"][1],
            (nlohmann::json{{"frame", 1}, {"time", .1}, {"psnr", nullptr}, {"ssim", 1}, {"lpips", 0}}));
  EXPECT_EQ(json["per_frame"][2]["psnr"], 20);

  const nlohmann::json equal = json_of(made_up({kInfinity}));
  for (const char* none : {"mean", "worst", "of_mean_error"}) EXPECT_EQ(equal["psnr"][none], nullptr) << none;
  for (const auto& [name, value] : equal["psnr"]["drift"].items()) EXPECT_EQ(value, nullptr) << name;
  EXPECT_EQ(equal["ssim"]["mean"], 1);
}

TEST(ComparePlot, IsWellFormedForReadersOfEveryKind) {
  const std::string svg = svg_of(made_up({40, 30, kInfinity, 25, 24, 20}));
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_NE(svg.find("role=\"img\" aria-labelledby=\"title desc\""), std::string::npos);
  EXPECT_NE(svg.find("<title id=\"title\">a &amp; b.mp4 and &lt;c&gt;.png, frame by frame</title>"), std::string::npos);
  EXPECT_NE(svg.find("PSNR: mean 27.80, worst 20.00 at 0.50 seconds."), std::string::npos) << svg;
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_NE(svg.find(">PSNR (dB), higher is nearer</text>"), std::string::npos);
  EXPECT_NE(svg.find(">LPIPS (AlexNet), lower is nearer</text>"), std::string::npos);
  EXPECT_NE(svg.find(">worst 20.00 at 0.50 s (frame 5)</text>"), std::string::npos);
  EXPECT_EQ(count_of(svg, "class=\"worst\""), 3u);
  EXPECT_EQ(count_of(svg, "<polyline"), 4u) << "the equal frame parts the line of PSNR";
  for (const char* wrong : {"nan", "inf"}) EXPECT_EQ(svg.find(wrong), std::string::npos);
  // Inside their chart, and of PSNR the first frame above the last.
  const auto points = points_of(svg);
  ASSERT_EQ(points.size(), 17u);
  for (const auto& [x, y] : points) EXPECT_TRUE(x >= 72 && x <= 836 && y >= 64 && y <= 64 + 3 * 220) << x << "," << y;
  EXPECT_LT(points[0].second, points[4].second);
  EXPECT_EQ(points[0].first, 72);
  EXPECT_EQ(points[4].first, 836);
}

TEST(ComparePlot, OneFrameAndEqualFramesAreShown) {
  const std::string one = svg_of(made_up({40}));
  EXPECT_TRUE(is_well_formed(one));
  EXPECT_NE(one.find(">1 frame compared. "), std::string::npos) << one;
  EXPECT_EQ(count_of(one, "class=\"dot\""), 3u);
  const std::string equal = svg_of(made_up({kInfinity, kInfinity, kInfinity}));
  EXPECT_TRUE(is_well_formed(equal));
  EXPECT_NE(equal.find("all frames are identical: there is no finite value"), std::string::npos);
  EXPECT_EQ(count_of(equal, "<polyline"), 2u);
  EXPECT_NE(equal.find(">1.00</text>"), std::string::npos) << equal;
  for (const char* beyond : {">1.05</text>", ">-0.05</text>"})
    EXPECT_EQ(equal.find(beyond), std::string::npos) << "no SSIM is above 1, no LPIPS below 0: " << equal;
}

TEST(ComparePlot, OfALongVideoTheExtremesStay) {
  std::vector<double> values(20001);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 30 + std::sin(double(i) / 300);
  values[12345] = 5;
  values[777] = 60;
  const std::string svg = svg_of(made_up(values));
  const auto points = points_of(svg);
  EXPECT_LE(points.size(), 3 * kMostPlotted);
  EXPECT_GT(points.size(), kMostPlotted);
  EXPECT_LT(svg.size(), 200'000u);
  double lowest = 1e9, highest = 0;
  for (const auto& [x, y] : points)
    if (y < 64 + 220) lowest = std::min(lowest, y), highest = std::max(highest, y);
  EXPECT_NEAR(lowest, 90, 1) << "60 dB is at the top of the chart";
  EXPECT_GT(highest, 220) << "5 dB is near its bottom";
}

namespace {

class CompareProgram : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "compare");
    return Process("wan-infer", words, folder_.path()).finish();
  }
  TemporaryFolder folder_;
};

const std::string kA = kGolden + "a.mkv", kB = kGolden + "b.mkv";

}  // namespace

TEST_F(CompareProgram, PrintsATableOrJsonAndDrawsAPlot) {
  const Outcome table = run({kA, kB, "--plot", "plot.svg", "--threads", "2"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("12 frames compared in 8-bit RGB, 1 identical"), std::string::npos) << table.out;
  EXPECT_TRUE(std::regex_search(table.out, std::regex("PSNR dB +29\\.74 +8\\.36 +7 +0\\.70 s "))) << table.out;
  EXPECT_TRUE(is_well_formed(content(folder_ / "plot.svg")));

  const Outcome json = run({kA, kB, "--json", "--threads", "1"});
  EXPECT_EQ(json.code, 0) << json.err;
  const nlohmann::json found = nlohmann::json::parse(json.out);
  EXPECT_EQ(found["per_frame"].size(), 12u);
  EXPECT_EQ(found["ssim"]["worst"]["frame"], 7);
  EXPECT_EQ(run({kA, kB, "--json", "--threads", "2"}).out, json.out) << "whatever the number of threads";
}

TEST_F(CompareProgram, APlotThatCannotBeWrittenCostsNoNumbers) {
  const std::string whole = run({kA, kB}).out;
  const Outcome full = Process("wan-infer", {"compare", kA, kB, "--plot", "plot.svg"}, folder_.path(),
                               {.file_bytes = 2000})  // more than the table, less than the plot
                           .finish();
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_EQ(full.out, whole);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "plot.svg"));
}

TEST_F(CompareProgram, MeasuresLpipsWithTheUsersWeights) {
  write_safetensors(folder_ / "alexnet.safetensors", lpips_features(lpips::Backbone::AlexNet, /*torchvision=*/true));
  const Outcome json = run({kA, kB, "--json", "--lpips", "alexnet.safetensors", "--lpips", kGolden + "alex_heads.pth"});
  EXPECT_EQ(json.code, 0) << json.err;
  const nlohmann::json found = nlohmann::json::parse(json.out);
  EXPECT_EQ(found["lpips"]["worst"]["frame"], 7);
  const Outcome half = run({kA, kB, "--lpips", "alexnet.safetensors"});
  EXPECT_EQ(half.code, 3);
  EXPECT_NE(half.err.find("wan-infer: [alexnet.safetensors] must have backbone and linear layers"), std::string::npos)
      << half.err;
}

TEST_F(CompareProgram, WhatIsWrongIsToldInOneLineEach) {
  std::ofstream(folder_ / "there.svg") << "x";
  std::ofstream(folder_ / "text.mp4") << "no video";
  const struct {
    std::vector<std::string> words;
    std::string line;
  } cases[] = {
      {{}, "[A] is required; wan-infer compare A B"},
      {{kA}, "[B] is required; wan-infer compare A B"},
      {{kA, "absent.mp4"}, "[B] must be a file, and there is no file 'absent.mp4'"},
      {{"text.mp4", kB}, "[A] must be a video, got 'text.mp4': "},
      {{kA, kB, "--plot", "plot.png"}, "[--plot] must end in .svg, got 'plot.png'"},
      {{kA, kB, "--plot", "there.svg"}, "[--plot] must not be there already: 'there.svg'; --overwrite replaces it"},
      {{kA, kB, "--lpips", "absent.pth"}, "[--lpips] must be a file, and there is no file 'absent.pth'"},
      {{kA, kB, kA}, "[argument] is not wanted here"},
      {{kA, kB, "--device", "cpu"}, "[--device] is not a flag of compare"},
  };
  for (const auto& wrong : cases) {
    const Outcome outcome = run(wrong.words);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("wan-infer: " + wrong.line), std::string::npos) << wrong.line << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(content(folder_ / "there.svg"), "x");
  EXPECT_EQ(run({kA, kB, "--plot", "there.svg", "--overwrite"}).code, 0);
  EXPECT_NE(content(folder_ / "there.svg"), "x");
}

}  // namespace wan
