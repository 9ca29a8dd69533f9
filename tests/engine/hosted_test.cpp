#include "engine/request/hosted.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "engine/base/error.h"
#include "engine/request/parse.h"

namespace wan {
namespace {

// The hosted pages, as they were read: each endpoint's fields, no more and no fewer.
TEST(Hosted, FieldsAreThoseOfTheEndpoints) {
  const auto pages = nlohmann::json::parse(std::ifstream(WAN_SOURCE_DIR "/tests/serve/parameters.json"));
  for (const Task task : kTasks) {
    std::set<std::string> named, ours;
    bool found = false;
    for (const auto& endpoint : pages.at("endpoints")) {
      if (endpoint.value("sync_path", "") != std::string("/") + hosted_path(task)) continue;
      found = true;
      for (const auto& input : endpoint.at("inputs")) named.insert(input.at("name").get<std::string>());
    }
    EXPECT_TRUE(found) << hosted_path(task);
    for (const Parameter& parameter : parameters())
      if (is_hosted(parameter, task)) ours.insert(parameter.name);
    EXPECT_EQ(ours, named) << task_name(task);
  }
}

TEST(Hosted, AServerJudgesWhatItLacks) {
  const nlohmann::json fields = {{"prompt", ""}, {"enable_prompt_expansion", true}};
  EXPECT_THROW(parse(Task::T2V, fields, {.need_model = false}), InvalidRequest);
  EXPECT_TRUE(parse(Task::T2V, fields, {.by_server = true}).enable_prompt_expansion);
  EXPECT_TRUE(
      parse(Task::T2V, {{"prompt", ""}, {"enable_safety_checker", true}}, {.by_server = true}).enable_safety_checker);
  // A server has an interpolator by default, so that frames alone can be asked for.
  EXPECT_EQ(
      parse(Task::T2V, {{"prompt", ""}, {"num_interpolated_frames", 3}}, {.by_server = true}).num_interpolated_frames,
      3);
}

TEST(Hosted, FieldsOfLocalRunsAreRefusedWithTheWayOut) {
  try {
    parse(Task::T2V, {{"prompt", ""}, {"model", "x"}, {"unlocked", true}, {"num_frames", 5}}, {.by_server = true});
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(
        invalid.what(),
        "[model] is for local runs: the server has models of its own; leave it out\n"
        "[unlocked] is for local runs: the endpoint of a server has no such field; leave it out, or render here");
  }
}

TEST(Hosted, WhoeverRunsAServerDecidesWhetherVideosAreLookedAt) {
  EXPECT_FALSE(is_hosted(*find_parameter("quality_check"), Task::T2V));
  EXPECT_EQ(local_only_text("quality-check"), "is for local runs: whoever runs the server decides it; leave it out");
}

}  // namespace
}  // namespace wan
