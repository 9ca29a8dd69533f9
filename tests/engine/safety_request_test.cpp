// What a request asks of the safety checks, and what records say of them.
#include "engine/request/safety.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/job/output_safety.h"
#include "engine/job/record.h"
#include "engine/job/replay.h"
#include "engine/request/hosted.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "tests/support.h"

namespace wan {
namespace {

using nlohmann::json;

Request parsed(json more, Task task = Task::T2V) {
  more.update({{"prompt", ""}, {"model", "m"}});
  return parse(task, more, {.check_files = false});
}

std::pair<bool, bool> checks(const json& more) {
  const Request request = parsed(more);
  return {request.enable_safety_checker, request.enable_output_safety_checker};
}

TEST(SafetyRequest, WhatIsNamedIsUsedUnlessTheOtherCheckAloneIsAskedFor) {
  const std::pair<bool, bool> none{false, false}, both{true, true}, input{true, false}, output{false, true};
  EXPECT_EQ(checks({}), none);
  EXPECT_EQ(checks({{"safety_checker", "d"}}), both);
  EXPECT_EQ(checks({{"safety_checker", "d"}, {"enable_safety_checker", true}}), input);
  EXPECT_EQ(checks({{"safety_checker", "d"}, {"enable_output_safety_checker", true}}), output);
  EXPECT_EQ(checks({{"safety_checker", "d"}, {"enable_safety_checker", false}}), output);
  EXPECT_EQ(checks({{"safety_checker", "d"}, {"enable_output_safety_checker", false}}), input);
  EXPECT_EQ(
      checks({{"safety_checker", "d"}, {"enable_safety_checker", false}, {"enable_output_safety_checker", false}}),
      none);
  EXPECT_EQ(checks({{"blocked_words", "w"}}), input);
  EXPECT_EQ(checks({{"blocked_words", "w"}, {"enable_safety_checker", false}}), none);
  EXPECT_EQ(checks({{"enable_output_safety_checker", true}}), output);
  EXPECT_FALSE(needs_safety_checker(parsed({{"blocked_words", "w"}})));
  EXPECT_TRUE(needs_safety_checker(parsed({{"enable_safety_checker", true}})));
  EXPECT_TRUE(needs_safety_checker(parsed({{"blocked_words", "w"}, {"enable_output_safety_checker", true}})));
}

TEST(SafetyRequest, ARuleHasTheCheckersThresholdWhereNoneIsGiven) {
  EXPECT_FALSE(safety_rule(parsed({})).threshold);
  EXPECT_EQ(safety_rule(parsed({{"safety_threshold", 0}})).threshold, 0);
  EXPECT_EQ(safety_rule(parsed({{"safety_action", "blur"}})).action, SafetyAction::Blur);
  EXPECT_FALSE(to_json(parsed({})).contains("safety_threshold"));
  EXPECT_EQ(to_json(parsed({{"safety_threshold", -0.5}}))["safety_threshold"], -0.5);
}

TEST(SafetyRequest, TheHostedFieldsAreThoseOfThePages) {
  for (Task task : kTasks) {
    EXPECT_TRUE(is_hosted(*find_parameter("enable_safety_checker"), task));
    EXPECT_EQ(is_hosted(*find_parameter("enable_output_safety_checker"), task), task == Task::V2V || task == Task::S2V);
    for (const char* own : {"safety_checker", "safety_threshold", "safety_action", "discard", "blocked_words"})
      EXPECT_FALSE(is_hosted(*find_parameter(own), task)) << own;
  }
}

SafetyRecord flagged_record() {
  SafetyRecord record{.checker = "image classifier (ViT)", .threshold = 0.5, .action = "blur"};
  record.inputs["prompt"] = {.flagged = true, .score = 0, .found = "sword", .frame = 0, .frames = 0};
  record.inputs["image_url"] = {.flagged = false, .score = 0.25, .found = "", .frame = 0, .frames = 1};
  record.output = SafetyFinding{.flagged = true, .score = 0.75, .found = "nsfw", .frame = 12, .frames = 8};
  return record;
}

TEST(SafetyRequest, RecordsComeBack) {
  const SafetyRecord record = flagged_record();
  EXPECT_TRUE(record.flagged() && record.inputs_flagged() && record.is_there());
  EXPECT_EQ(read_safety(to_json(record)), record);
  EXPECT_FALSE(to_json(record, /*with_words=*/false)["inputs"]["prompt"].contains("found"));
  Record whole = make_record(parsed({}), {}, {});
  EXPECT_FALSE(json::parse(to_text(whole)).contains("safety"));
  whole.safety = record;
  EXPECT_EQ(parse_record(to_text(whole), "video").safety, record);
}

TEST(SafetyRequest, AReplayNeedsNoCheckerForChecksThatAreOff) {
  const TemporaryFolder folder;
  const Request stored = parsed({{"safety_checker", "falconsai"}});
  try {
    find_named(stored, {{"model", "m"}}, folder.path(), Named::Model);
    ADD_FAILURE() << "found";
  } catch (const InvalidRequest& invalid) {
    EXPECT_TRUE(invalid.errors.at(0).wrong.ends_with(
        "; --safety-checker DIR gives it, --no-enable-safety-checker with --no-enable-output-safety-checker does "
        "without"))
        << invalid.what();
  }
  const json off = find_named(
      stored, {{"model", "m"}, {"enable_safety_checker", "false"}, {"enable_output_safety_checker", "false"}},
      folder.path(), Named::Model);
  EXPECT_FALSE(off.contains("safety_checker"));
  // A checker that is given for a video that was made without one is used.
  const json given = find_named(parsed({}), {{"model", "m"}, {"safety_checker", "d"}}, folder.path(), Named::Model);
  EXPECT_FALSE(given.contains("enable_safety_checker") || given.contains("enable_output_safety_checker"));
}

TEST(SafetyRequest, WhatWasSaidByAnotherRunHasTheActionOfThisOne) {
  EXPECT_EQ(output_safety(parsed({{"safety_action", "flag"}}), nullptr, flagged_record()).said.action, "flag");
  EXPECT_EQ(output_safety(parsed({}), nullptr, {}).said, SafetyRecord());
}

TEST(SafetyRequest, LongVideosAreLookedAtMoreOften) {
  EXPECT_EQ(looked_frames(5), 8);
  EXPECT_EQ(looked_frames(81), 8);
  EXPECT_EQ(looked_frames(97), 9);
  EXPECT_EQ(looked_frames(57'600), 4'800) << "an hour";
}

}  // namespace
}  // namespace wan
