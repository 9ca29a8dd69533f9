// What safety checks said before: within a run and after a break, by which threshold and under which action. What is left of
// a video that is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/safety_scene.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class SafetyKept : public SafetyScene {
 protected:
  /// Makes all steps of the job, and breaks off while its frames are decoded.
  void begin(const Request& asked) {
    Steps broken(INT64_MAX, 1);
    EXPECT_THROW(run(asked, broken), Cancelled);
  }
};

TEST_F(SafetyKept, JobsOfARunThatShareAPictureHaveTheirOwnThresholds) {
  const json asked = {{"safety_checker", "nothing"}, {"enable_output_safety_checker", false}};
  json low = asked;
  low.update({{"safety_threshold", 0.04}, {"seed", 4}, {"out", folder_ / "b.mp4"}});
  const std::vector<JobRequest> jobs = {{.line = 1, .request = picture("dark.png", 20, asked)},
                                        {.line = 2, .request = picture("dark.png", 20, low)}};
  WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
  Steps stopped(Stage::Encode);  // behind the checks of inputs
  const RunResult result = run_jobs(jobs, work, {}, log_, stopped);
  EXPECT_EQ(result.jobs.at(0).state, JobState::Left) << result.jobs[0].error;
  EXPECT_EQ(result.jobs.at(1).state, JobState::Failed);
  EXPECT_NE(result.jobs[1].error.find("is above 0.04"), std::string::npos) << result.jobs[1].error;
}

TEST_F(SafetyKept, APictureIsLookedAtAgainForAnotherThreshold) {
  json more = {{"safety_checker", "nothing"}, {"enable_output_safety_checker", false}, {"safety_action", "flag"}};
  begin(picture("dark.png", 20, more));
  more["safety_threshold"] = 0.04;
  const Request asked = picture("dark.png", 20, more);
  Steps rest;
  run(asked, rest);
  EXPECT_EQ(rest.made, 0);
  const json said = said_in(asked.out)["safety"];
  EXPECT_EQ(said["threshold"], 0.04);
  EXPECT_EQ(said["inputs"]["image_url"]["flagged"], true) << said;
}

TEST_F(SafetyKept, APictureThatWasFlaggedIsRefusedWhereTheStepsAreMade) {
  json more = {{"safety_checker", "bright"}, {"enable_output_safety_checker", false}, {"safety_action", "flag"}};
  begin(picture("bright.png", 240, more));
  more["safety_action"] = "refuse";
  Steps rest;
  EXPECT_EQ(refusal_of(picture("bright.png", 240, more), rest).field, "image_url");
  EXPECT_EQ(rest.made + rest.decoded, 0);
  EXPECT_FALSE(fs::exists(folder_ / "a.mp4"));
}

/// Whether a file was there while the job worked.
struct Seen : Steps {
  explicit Seen(fs::path file) : file(std::move(file)) {}
  void at(const Report& report) override {
    Steps::at(report);
    is_seen = is_seen || fs::exists(file);
  }
  fs::path file;
  bool is_seen = false;
};

TEST_F(SafetyKept, ThePreviewOfARefusedVideoIsNotKept) {
  const std::string preview = folder_ / "live.png";
  Seen progress(preview);
  refusal_of(request({{"safety_checker", "everything"}}), progress, {.output = {.preview = preview}});
  EXPECT_TRUE(progress.is_seen);
  EXPECT_FALSE(fs::exists(preview)) << "it shows what the video does";
}

}  // namespace
}  // namespace wan
