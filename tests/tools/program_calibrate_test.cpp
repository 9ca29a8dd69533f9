// `wan-infer calibrate` as a user runs it: which files of prompts it takes, and what becomes of a file that appears.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

using Words = std::vector<std::string>;

struct ProgramCalibrate : testing::Test {
  /// The quickest one, into c.json, of prompts as `flag` gives them.
  static Words words(const std::string& flag, const std::string& value) {
    return {"calibrate",
            "t2v",
            "--model",
            WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano",
            "--out",
            "c.json",
            "--width",
            "32",
            "--height",
            "32",
            "--num-frames",
            "17",
            "--num-inference-steps",
            "40",
            "--seed",
            "42",
            "--device",
            "cpu",
            "--threads",
            "1",
            flag,
            value};
  }
  TemporaryFolder folder;
};

TEST_F(ProgramCalibrate, PromptsThatAreNoneAreRefusedBeforeAnythingIsMeasured) {
  for (const auto& [text, wrong] : {std::pair("\n \t\r\n", "has none"), std::pair("a c\xE4t\n", "is not in UTF-8")}) {
    std::ofstream(folder / "p.txt") << text;
    const Outcome refused = Process("wan-infer", words("--prompts", "p.txt"), folder.path()).finish();
    EXPECT_EQ(refused.code, 2) << refused.err;
    EXPECT_NE(refused.err.find(std::string("p.txt' ") + wrong), std::string::npos) << refused.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "c.json"));
    EXPECT_FALSE(std::filesystem::exists(folder / "c.json.work"));
  }
}

TEST_F(ProgramCalibrate, AFileThatAppearsWhileItMeasuresStaysAndSoDoesTheWork) {
  const Words asked = words("--prompt", "a red circle moves up");
  Process process("wan-infer", asked, folder.path());
  ASSERT_TRUE(process.wait_for("denoise "));
  std::ofstream(folder / "c.json") << "mine";
  const Outcome refused = process.finish();
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_NE(refused.err.find("must not be there already"), std::string::npos) << refused.err;
  EXPECT_EQ(content(folder / "c.json"), "mine");
  EXPECT_TRUE(std::filesystem::exists(folder / "c.json.work"));
  std::filesystem::remove(folder / "c.json");
  const Outcome done = Process("wan-infer", asked, folder.path()).finish();
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.err.find("denoise 0/"), std::string::npos) << "nothing is measured a second time: " << done.err;
  EXPECT_TRUE(content(folder / "c.json").starts_with("{"));
  EXPECT_FALSE(std::filesystem::exists(folder / "c.json.work"));
}

}  // namespace
}  // namespace wan
