// The built wan-infer, run as a user does: exit codes, and what it says on which stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

/// Runs wan-infer with these words in an empty folder.
Outcome wan_infer(const std::vector<std::string>& words) {
  TemporaryFolder folder;
  return Process("wan-infer", words, folder.path()).finish();
}

TEST(Cli, AnswersOnStdout) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"--help"}, {"t2v", "--help"}, {"batch", "--help"}, {"--version"}, {"t2v", "--prompt", "x", "--dry-run"}}) {
    Outcome run = wan_infer(words);
    EXPECT_EQ(run.code, 0) << words.back() << run.err;
    EXPECT_NE(run.out, "") << words.back();
    EXPECT_EQ(run.err, "") << words.back();
  }
}

TEST(Cli, BadInputIsOneLineForEachErrorAndExitCode2) {
  struct Row {
    std::vector<std::string> words;  // after t2v --model m
    std::vector<std::string> errors;
  };
  const std::vector<Row> rows = {
      {{}, {"[--prompt] is required; give it with --prompt TEXT"}},
      {{"--prompt", "x", "--num-frames", "16"},
       {"[--num-frames] must be from 17 to 121, got 16; --unlocked allows more"}},
      {{"--prompt", "x", "--num-frames", "8.5"}, {"[--num-frames] must be a whole number, got '8.5'"}},
      {{"--prompt", "x", "--shift", "12"}, {"[--shift] must be from 1 to 10, got 12; --unlocked allows more"}},
      {{"--prompt", "x", "--shift", "12", "--unlocked", "--guidance-scale", "51"},
       {"[--guidance-scale] must be from 0 to 50, got 51"}},
      {{"--prompt", "x", "--seed", "99999999999999999999"},
       {"[--seed] must be -1 (drawn) or a whole number from 0 to 2^64 - 1, got '99999999999999999999'"}},
      {{"--prompt", "\xc3\x28"}, {"[--prompt] must be UTF-8, got '"}},
      {{"--prompt", "x", "--widht", "64"}, {"[--widht] is not a flag of t2v; the nearest is --width"}},
      {{"--prompt", "x", "--image", "a.png"}, {"[--image] is not a flag of t2v; it belongs to i2v and s2v"}},
      {{"--prompt", "x", "--width", "64"}, {"[--height] is required together with --width"}},
      {{"--prompt", "x", "--blocked-words", "w", "--safety-action", "hide"},
       {"[--safety-action] must be refuse, blur or flag, got 'hide'"}},
      {{"--prompt", "x", "--blocked-words", "w", "--safety-threshold", "2"},
       {"[--safety-threshold] must be from -1 to 1, got 2"}},
      {{"--prompt", "x", "--safety-action", "blur"},
       {"[--safety-action] needs a check, and none is asked for; --safety-checker DIR or --blocked-words FILE turns "
        "one on"}},
      {{"--prompt", "x", "--safety-action", "blur", "--discard"},
       {"[--discard] needs --safety-action refuse, got 'blur': no video is refused otherwise; leave one of them "
        "out"}},
      {{"--prompt", "x", "--precision", "faster"},
       {"[--precision] must be exact, balanced, fast or fp8, got 'faster'"}},
      {{"--prompt", "x", "--weights", "int4"}, {"[--weights] must be stored, bf16, fp8 or int8, got 'int4'"}},
      {{"--prompt", "x", "--weights", "fp8", "--precision", "fast"},
       {"[--weights] must be stored with precision 'fast', got 'fp8'; precision exact takes it"}},
      {{"--prompt", "x", "--out", "missing/a.mp4"},
       {"[--out] must lie in a folder that exists, got 'missing/a.mp4'; make 'missing' first"}},
      {{"--prompt", "x", "--solver", "heun", "--steps", "3", "--fps", "8"},
       {"[--steps] is not a flag of t2v; the nearest is --num-inference-steps",
        "[--fps] is not a flag of t2v; the nearest is --frames-per-second",
        "[--solver] must be unipc, dpm++, euler or step_distill, got 'heun'"}},
  };
  for (const Row& row : rows) {
    std::vector<std::string> words = {"t2v", "--model", "m"};
    words.insert(words.end(), row.words.begin(), row.words.end());
    Outcome run = wan_infer(words);
    SCOPED_TRACE(run.err);
    EXPECT_EQ(run.code, 2);
    EXPECT_EQ(run.out, "");
    std::istringstream lines(run.err);
    size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      if (count >= row.errors.size()) continue;
      EXPECT_TRUE(line.starts_with("wan-infer: " + row.errors[count])) << line;
    }
    EXPECT_EQ(count, row.errors.size());
  }
}

TEST(Cli, FieldsAreNamedAsTheyWereTyped) {
  const Outcome flag = wan_infer({"v2v", "--model", "m", "--prompt", "x", "--video", "absent.mp4"});
  EXPECT_TRUE(flag.err.starts_with("wan-infer: [--video] must be a file or an http(s) URL")) << flag.err;
  const Outcome threads = wan_infer({"t2v", "--model", "m", "--prompt", "x", "--threads", "0"});
  EXPECT_TRUE(threads.err.starts_with("wan-infer: [--threads] must be from 1 to ")) << threads.err;
  const Outcome same =
      wan_infer({"t2v", "--model", "m", "--prompt", "x", "--out", "a.mp4", "--contact-sheet", "a.mp4"});
  EXPECT_TRUE(same.err.starts_with("wan-infer: [--contact-sheet] ")) << same.err;
  for (const char* preview : {"a.gif", "a.mp4", "sheet.png", "absent/live.png"}) {
    const Outcome wrong = wan_infer({"t2v", "--model", "m", "--prompt", "x", "--out", "a.mp4", "--contact-sheet",
                                     "sheet.png", "--preview", preview});
    EXPECT_TRUE(wrong.err.starts_with("wan-infer: [--preview] ")) << wrong.err;
  }

  TemporaryFolder folder;
  std::ofstream(folder / "list.jsonl") << R"({"task": "t2v", "prompt": "x", "num_frames": 0, "out": "a.mp4"})";
  const Outcome batch = Process("wan-infer", {"batch", "list.jsonl", "--model", "m"}, folder.path()).finish();
  EXPECT_EQ(batch.code, 2);
  EXPECT_TRUE(batch.err.starts_with("wan-infer: [line 1, num_frames] must be ")) << batch.err;
}

TEST(Cli, ErrorsOfARequestAreJsonToo) {
  const Outcome refused = wan_infer({"check", "t2v", "--json", "--prompt", "x", "--model", "m", "--num-frames", "0"});
  EXPECT_EQ(refused.code, 2);
  const nlohmann::json found = nlohmann::json::parse(refused.out);
  EXPECT_EQ(found["fits"], false);
  EXPECT_EQ(found["jobs"].size(), 0u);
  ASSERT_EQ(found["errors"].size(), 1u);
  EXPECT_EQ(found["errors"][0]["field"], "num_frames") << "as the request has it";
  EXPECT_TRUE(found["errors"][0]["text"].get<std::string>().starts_with("must be from 17 to 121, got 0"));

  TemporaryFolder folder;
  std::ofstream(folder / "list.jsonl") << "no JSON\n";
  const Outcome batch = Process("wan-infer", {"check", "batch", "list.jsonl", "--json"}, folder.path()).finish();
  EXPECT_EQ(batch.code, 2);
  EXPECT_EQ(nlohmann::json::parse(batch.out)["errors"][0]["field"], "line 1");
}

TEST(Cli, AFileThatIsNoManifestGivesAFewLines) {
  TemporaryFolder folder;
  std::ofstream list(folder / "list.jsonl");
  list << R"({"task": "t2v", "prompt": "x", "shift": 99, "out": "a.mp4"})"
       << "\n";
  for (int i = 0; i < 153; ++i) list << "line " << i << " of a letter\n";
  list.close();
  const Outcome run = Process("wan-infer", {"batch", "list.jsonl", "--model", "m"}, folder.path()).finish();
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1 + 5 + 1) << run.err;
  EXPECT_NE(run.err.find("[line 1, shift]"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("wan-infer: [manifest] has 148 more errors like that of line 2\n"), std::string::npos)
      << run.err;
}

TEST(Cli, NoCommandAndUnknownCommandAndUnservedTask) {
  EXPECT_EQ(wan_infer({}).code, 2);
  EXPECT_EQ(wan_infer({"render"}).code, 2);
  EXPECT_EQ(wan_infer({"show"}).code, 2);
  EXPECT_EQ(wan_infer({"t2v", "--prompt", "x"}).err,
            "wan-infer: [--model] is required; give it with --model DIR|NAME\n");
}

}  // namespace
}  // namespace wan
