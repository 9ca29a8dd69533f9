// What is found before the first step: notations of other programs, cut prompts, disk, long metadata.
#include "engine/job/preflight.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/request/prompt_syntax.h"

namespace wan {
namespace {

TEST(PromptSyntax, NotationsOfOtherProgramsAreNamed) {
  using Found = std::vector<std::string>;
  EXPECT_EQ(foreign_syntax("a (red:1.5) car"), Found({"(red:1.5)"}));
  EXPECT_EQ(foreign_syntax("a ((red)) car"), Found({"((red))"}));
  EXPECT_EQ(foreign_syntax("<lora:style_v2:0.8> a car"), Found({"<lora:style_v2:0.8>"}));
  EXPECT_EQ(foreign_syntax("[day:night:0.5] {red|blue} __colour__ a BREAK b"),
            Found({"[day:night:0.5]", "{red|blue}", "__colour__", "BREAK"}));
}

TEST(PromptSyntax, OrdinaryTextIsNone) {
  for (const char* text : {"", "a car (red)", "at 12:30 (about noon)", "(note: the car is red)", "BREAKFAST ANDES",
                           "x < y > z", "[sic]", "snake_case__name", "1 (2:", "(: 1.5)", "((", "a {red} car"})
    EXPECT_TRUE(foreign_syntax(text).empty()) << text;
  EXPECT_TRUE(foreign_syntax(std::string(1 << 20, '(')).empty());
}

TEST(Preflight, DiskIsCountedAndALackOfItIsToldBefore) {
  Request request;
  request.task = Task::T2V;
  const DiskNeed need = disk_need(request, {81, 720, 1280});
  EXPECT_EQ(need.work, uint64_t(4) * 18'662'400);  // the sample and three of the solver's: 16 x 21 x 90 x 160 floats
  request.solver = "euler";
  EXPECT_EQ(disk_need(request, {81, 720, 1280}).work, uint64_t(18'662'400));
  EXPECT_NO_THROW(check_space(1000, "/tmp/x.mp4"));
  try {
    check_space(uint64_t(1) << 60, "/tmp/x.mp4");
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors[0].field, "out");
    EXPECT_NE(invalid.errors[0].wrong.find("free"), std::string::npos);
  }
}

}  // namespace
}  // namespace wan
