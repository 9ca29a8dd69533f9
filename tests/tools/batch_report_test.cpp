// The report of a batch: what was found in its videos, for people and for programs.
#include "tools/cli/batch_report.h"

#include <gtest/gtest.h>

#include "engine/request/quality.h"

namespace wan {
namespace {

std::vector<ReportRow> rows() {
  const QualityNumbers black{.frames = 81, .black_frames = 81}, fine{.frames = 81};
  ReportRow plain{.line = 1, .task = "t2v", .out = "a.mp4", .seed = 1, .state = "done", .seconds = 2};
  ReportRow told = plain, again = plain;
  plain.quality = to_json(fine);
  told.line = 2;
  told.quality = to_json(black);
  told.safety = {{"flagged", true}, {"action", "flag"}};
  again.line = 3;
  again.quality = to_json(fine);
  again.quality_first = to_json(black);
  again.first = "c.first.mp4";
  return {plain, told, again, {.line = 4, .task = "t2v", .out = "d.mp4", .seed = 1, .state = "left"}};
}

TEST(BatchReport, SaysWhatWasFound) {
  const std::string text = report_text(rows());
  EXPECT_NE(text.find("quality, black: 81 of 81 frames are black"), std::string::npos) << text;
  EXPECT_NE(text.find("rendered once more with exact kernels; the first is c.first.mp4"), std::string::npos) << text;
  EXPECT_NE(text.find("first, black: 81 of 81 frames are black"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("4 jobs: 3 done, 1 left, 1 with findings\n")) << text;
}

TEST(BatchReport, HasTheNumbers) {
  const nlohmann::ordered_json json = report_json(rows());
  EXPECT_EQ(json["jobs"][0]["quality"]["black_frames"], 0);
  EXPECT_EQ(json["jobs"][1]["quality"]["found"][0]["kind"], "black");
  ASSERT_TRUE(json["jobs"][1].contains("safety"));
  EXPECT_EQ(json["jobs"][1]["safety"]["flagged"], true);
  EXPECT_FALSE(json["jobs"][0].contains("safety")) << "nothing was said of it";
  EXPECT_EQ(json["jobs"][2]["quality_first"]["black_frames"], 81);
  EXPECT_EQ(json["jobs"][2]["first"], "c.first.mp4");
  EXPECT_FALSE(json["jobs"][3].contains("quality")) << "it was not looked at";
  EXPECT_EQ(json["with_findings"], 1);
}

}  // namespace
}  // namespace wan
