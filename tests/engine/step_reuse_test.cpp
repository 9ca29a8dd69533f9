// Which steps reuse a residual: the rule on made ratios, and the published table of docs/acceleration.md.
#include "engine/request/step_reuse.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/error.h"
#include "engine/request/magcache_a14b.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"

namespace wan {
namespace {

using nlohmann::json;

Request request_of(Task task, json more = json::object()) {
  json fields = {{"prompt", "x"}, {"seed", 1}, {"acceleration", "regular"}};
  if (task == Task::V2V) fields["video_url"] = "input";
  if (task == Task::I2V || task == Task::S2V) fields["image_url"] = "input";
  if (task == Task::S2V) fields["audio_url"] = "input";
  fields.update(more);
  return parse(task, fields, {.need_model = false, .check_files = false});
}

/// Levels 0.99, 0.98, ... of the high-noise expert and 0.79, 0.78, ... of the low-noise one.
Request with_levels(int high, int low, json more = json::object()) {
  json sigmas = json::array();
  for (int i = 0; i < high; ++i) sigmas.push_back(0.99 - 0.01 * i);
  for (int i = 0; i < low; ++i) sigmas.push_back(0.79 - 0.01 * i);
  more["sigmas"] = sigmas;
  return request_of(Task::T2V, more);
}

/// At the same levels every step changes the norm by `ratio`.
Calibration steady(const Request& request, double ratio, double unconditional) {
  Calibration made;
  made.source = "made";
  for (const Step& step : make_schedule(request)) {
    CalibratedStep one{.sigma = step.sigma, .high = step.high, .changes = {}};
    if (!made.steps.empty() && made.steps.back().high == step.high)
      one.changes = {ResidualChange{.ratio = ratio}, ResidualChange{.ratio = unconditional}};
    made.steps.push_back(one);
  }
  return made;
}

/// "CCrrC": computed and reused steps of a branch; '.' where there is none.
std::string pattern(const StepReuse& reuse, size_t branch = kConditional) {
  std::string text;
  for (const StepForwards& step : reuse.steps) text += !step.has[branch] ? '.' : step.reuses[branch] ? 'r' : 'C';
  return text;
}

constexpr ReuseBounds kFree = {.error = 0.06, .in_a_row = 2, .retained_high = 0, .retained_low = 0};

StepReuse reuse_at(double ratio, const ReuseBounds& bounds = kFree, double unconditional = 1) {
  const Request request = with_levels(6, 6);
  return reuse_by(steady(request, ratio, unconditional), bounds, request, make_schedule(request));
}

TEST(StepReuse, TheErrorOfARunOfStepsStaysBelowTheBound) {
  // 1 - 0.98 = 0.02, 1 - 0.98^2 = 0.0396: in sum 0.0596. The first and the last step of each expert are computed.
  EXPECT_EQ(pattern(reuse_at(0.98)), "CrrCrCCrrCrC");
  EXPECT_EQ(pattern(reuse_at(0.979)), "CrCrCCCrCrCC") << "0.0625";
  EXPECT_EQ(pattern(reuse_at(0.94)), "CCCCCCCCCCCC");
  EXPECT_EQ(pattern(reuse_at(0.95)), "CrCrCCCrCrCC");
  EXPECT_EQ(pattern(reuse_at(1.02)), "CrCrCCCrCrCC") << "growing counts as much";
  EXPECT_EQ(pattern(reuse_at(1)), "CrrCrCCrrCrC") << "at most two in a row";
  EXPECT_EQ(pattern(reuse_at(1, {.error = 0.06, .in_a_row = 4, .retained_high = 0, .retained_low = 0})),
            "CrrrrCCrrrrC");
}

TEST(StepReuse, EachBranchHasRatiosOfItsOwn) {
  const StepReuse reuse = reuse_at(0.98, kFree, 0.5);
  EXPECT_EQ(pattern(reuse, kConditional), "CrrCrCCrrCrC");
  EXPECT_EQ(pattern(reuse, kUnconditional), "CCCCCCCCCCCC");
  EXPECT_EQ(reuse.forwards(), 24);
  EXPECT_EQ(reuse.reused(), 6);
  EXPECT_EQ(reuse.kept(), 1);
  EXPECT_EQ(reuse.reused_steps(kConditional), (std::vector<int64_t>{1, 2, 4, 7, 8, 10}));
  EXPECT_TRUE(reuse.reused_steps(kUnconditional).empty());
  EXPECT_TRUE(reuse.reuses(1, kConditional));
  EXPECT_FALSE(reuse.reuses(1, kUnconditional));
  EXPECT_FALSE(reuse.reuses(-1, kConditional));
  EXPECT_FALSE(reuse.reuses(12, kConditional));
  EXPECT_EQ(reuse_at(1).kept(), 2);
  StepReuse late = reuse;
  late.first = 4;  // as of video to video, whose first steps are not made
  EXPECT_EQ(late.reused_steps(kConditional), (std::vector<int64_t>{5, 6, 8, 11, 12, 14}));
  EXPECT_TRUE(late.reuses(5, kConditional));
  EXPECT_FALSE(late.reuses(2, kConditional));
}

TEST(StepReuse, TheFirstStepsOfEachExpertAreComputed) {
  ReuseBounds bounds = kFree;
  bounds.retained_high = 0.4;  // of 6, rounded up
  bounds.retained_low = 1;
  EXPECT_EQ(pattern(reuse_at(1, bounds)), "CCCrrCCCCCCC");
  bounds.retained_high = 0.5;
  EXPECT_EQ(pattern(reuse_at(1, bounds)), "CCCrrCCCCCCC") << "exactly three";
  EXPECT_EQ(reuse_bounds(Task::T2V).retained_high, 0.4);
  EXPECT_EQ(reuse_bounds(Task::V2V).retained_low, 0.4);
  EXPECT_EQ(reuse_bounds(Task::I2V).retained_high, 1);
  EXPECT_EQ(reuse_bounds(Task::I2V).retained_low, 0.1);
}

TEST(StepReuse, ABranchThatAStepLacksIsComputedWhenItIsThereAgain) {
  // Guidance in 0.985 to 0.955 and not in step 3 and later.
  const Request request = with_levels(6, 6, {{"guidance_interval", "0.755:0.985"}});
  const StepReuse reuse = reuse_by(steady(request, 1, 1), kFree, request, make_schedule(request));
  EXPECT_EQ(pattern(reuse, kConditional), "CrrCrCCrrCrC");
  EXPECT_EQ(pattern(reuse, kUnconditional), ".CrrCCCrrC..");
}

TEST(StepReuse, WhereLorasChangeTheStepIsComputed) {
  const json loras = {{{"path", "a"}, {"scale", {1, 0.5}}, {"transformer", "both"}}};
  const Request request = with_levels(6, 6, {{"loras", loras}});
  const StepReuse reuse = reuse_by(steady(request, 1, 1), kFree, request, make_schedule(request));
  EXPECT_EQ(pattern(reuse), "CrrCrCCrrCrC");
  const json thirds = {{{"path", "a"}, {"scale", {1, 0, 1}}, {"transformer", "both"}}};
  const Request other = with_levels(6, 6, {{"loras", thirds}});
  EXPECT_EQ(pattern(reuse_by(steady(other, 1, 1), kFree, other, make_schedule(other))), "CrCrCCCrCrCC");
}

TEST(StepReuse, FewStepsAndDistilledModelsReuseNothingAndSayIt) {
  const auto told = [](const Request& request, const ReuseModel& model = {}) {
    const StepReuse reuse = step_reuse(request, make_schedule(request), model);
    EXPECT_EQ(reuse.reused(), 0);
    EXPECT_FALSE(reuse.is_on());
    EXPECT_EQ(int64_t(reuse.steps.size()), make_schedule(request).size());
    return reuse.nothing;
  };
  EXPECT_NE(told(request_of(Task::T2V, {{"num_inference_steps", 2}})).find("makes 2 steps"), std::string::npos);
  EXPECT_NE(told(request_of(Task::T2V, {{"num_inference_steps", 8}})).find("in 8 and fewer"), std::string::npos);
  EXPECT_NE(told(request_of(Task::V2V, {{"num_inference_steps", 40}, {"strength", 0.2}})).find("makes 8 steps"),
            std::string::npos);
  EXPECT_NE(told(request_of(Task::T2V), {.distilled = true}).find("distilled"), std::string::npos);
  EXPECT_NE(told(request_of(Task::T2V, {{"preset", "lightning4"}, {"num_inference_steps", 20}})).find("distilled"),
            std::string::npos);
  EXPECT_NE(told(request_of(Task::T2V), {.published = false}).find("of this size"), std::string::npos);
  EXPECT_NE(told(request_of(Task::S2V)).find("for this task"), std::string::npos);
  EXPECT_EQ(told(request_of(Task::T2V, {{"acceleration", "none"}})), "");
  EXPECT_EQ(told(request_of(Task::V2V, {{"strength", 0}})), "") << "nothing is made";
  const Request nine = request_of(Task::T2V, {{"num_inference_steps", 9}});
  EXPECT_TRUE(step_reuse(nine, make_schedule(nine)).is_on());
}

TEST(StepReuse, ExplicitLevelsAreMappedLikeAnyOther) {
  const Schedule table = make_schedule(request_of(Task::T2V));
  json sigmas = json::array();
  for (const Step& step : table) sigmas.push_back(double(step.sigma));
  const Request request = request_of(Task::T2V, {{"sigmas", sigmas}, {"solver", "euler"}});
  const Schedule schedule = make_schedule(request);
  EXPECT_EQ(step_reuse(request, schedule).steps, step_reuse(request_of(Task::T2V), table).steps);
}

TEST(StepReuse, SharesFollowTheComputedForwards) {
  const StepReuse reuse = reuse_at(1);  // CrrCrC: three steps of each expert compute
  const std::vector<double> shares = reuse.shares();
  ASSERT_EQ(shares.size(), 12u);
  EXPECT_EQ(shares[0], 0);
  EXPECT_NEAR(shares[1], 1 / 6., 1e-12);
  EXPECT_EQ(shares[1], shares[2]);
  EXPECT_EQ(shares[2], shares[3]);
  EXPECT_NEAR(shares[6], 0.5, 1e-12);
  EXPECT_NEAR(shares[11], 5 / 6., 1e-12);
  EXPECT_TRUE(reuse_at(0.5, kFree, 0.5).shares().empty()) << "all alike";
}

TEST(StepReuse, ACalibrationOfOtherSettingsIsNoted) {
  const Request request = with_levels(6, 6);
  Calibration made = steady(request, 1, 1);
  made.networks = {{"high_noise", "h", ""}};
  made.solver = "unipc";
  made.shift = request.shift;
  made.boundary = request.boundary;
  EXPECT_TRUE(reuse_by(made, kFree, request, make_schedule(request)).notes.empty());
  const auto told = [&](const Request& asked) {
    const StepReuse reuse = reuse_by(made, kFree, asked, make_schedule(asked));
    EXPECT_LE(reuse.notes.size(), 1u);
    return reuse.notes.empty() ? "" : reuse.notes[0].text;
  };
  EXPECT_EQ(told(with_levels(5, 6)), "") << "the same levels but for one";
  EXPECT_EQ(told(with_levels(7, 6)),
            "made was measured with the noise levels of 12 steps: its ratios are mapped by noise level");
  made.solver = "euler";
  made.shift = 12;
  EXPECT_EQ(told(request), "made was measured with solver euler: its ratios are mapped by noise level")
      << "explicit levels have no shift";
  EXPECT_EQ(told(request_of(Task::T2V)),
            "made was measured with solver euler, shift 12: its ratios are mapped by noise level");
  made.solver = std::string(5000, 'x') + "\x1b[2J";
  EXPECT_LT(told(request).size(), 200u) << "a stranger's file";
}

TEST(StepReuse, ACalibrationOfAnotherTaskIsRefused) {
  const Request request = with_levels(6, 6);
  Calibration made = steady(request, 1, 1);
  made.task = Task::V2V;
  EXPECT_NO_THROW(reuse_by(made, kFree, request, make_schedule(request))) << "the same model";
  made.task = Task::I2V;
  EXPECT_THROW(reuse_by(made, kFree, request, make_schedule(request)), InvalidRequest);
}

TEST(StepReuse, TheBranchesThatAStepHas) {
  EXPECT_TRUE(has_branch(Task::T2V, {.guidance = 0.5}, kUnconditional));
  EXPECT_FALSE(has_branch(Task::T2V, {.guidance = 1}, kUnconditional));
  EXPECT_FALSE(has_branch(Task::S2V, {.guidance = 0.5}, kUnconditional)) << "speech guides above 1 alone";
  EXPECT_TRUE(has_branch(Task::S2V, {.guidance = 0.5}, kConditional));
}

// The table of the documentation ------------------------------------------------------------------------------------

struct Row {
  Task task;
  const char* settings;
  json fields;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {Task::T2V, "hosted", {}},
      {Task::T2V, "reference", {{"preset", "reference"}}},
      {Task::I2V, "hosted, reference", {}},
      {Task::V2V, "hosted, `--strength 0.9`", {{"strength", 0.9}}},
      {Task::V2V, "hosted, `--strength 0.5`", {{"strength", 0.5}}},
  };
  return all;
}

std::string row_text(const Row& row, int64_t steps) {
  json fields = row.fields.is_null() ? json::object() : row.fields;
  fields["num_inference_steps"] = steps;
  const Request request = request_of(row.task, fields);
  const StepReuse reuse = step_reuse(request, make_schedule(request));
  std::string list;
  for (const Step& step : make_schedule(request)) {
    const bool both = reuse.reuses(step.index, kConditional) && reuse.reuses(step.index, kUnconditional);
    for (size_t branch = 0; branch < kBranches; ++branch)
      if (reuse.reuses(step.index, branch) && !(both && branch == kUnconditional))
        list += (list.empty() ? "" : " ") + std::to_string(step.index) +
                (both ? "" : std::string(" (") + branch_name(branch) + ")");
  }
  char factor[16];
  std::snprintf(factor, sizeof factor, "%.2f", double(reuse.forwards()) / double(reuse.forwards() - reuse.reused()));
  return "| `" + std::string(task_name(row.task)) + "` | " + row.settings + " | " + std::to_string(steps) + " | " +
         (list.empty() ? "none" : list) + " | " + std::to_string(reuse.reused()) + " of " +
         std::to_string(reuse.forwards()) + " | " + factor + " |\n";
}

TEST(StepReuse, TheTableOfTheDocumentationIsWhatIsReused) {
  std::ifstream file(WAN_SOURCE_DIR "/docs/acceleration.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const Row& row : rows())
    for (int64_t steps : {20, 27, 40})
      EXPECT_NE(text.str().find(row_text(row, steps)), std::string::npos) << row_text(row, steps);
}

}  // namespace
}  // namespace wan
