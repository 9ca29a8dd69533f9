// The built program with a language server, as a user runs it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "tests/support/chat_server.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

using Words = std::vector<std::string>;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

class ProgramExpansion : public testing::Test {
 protected:
  ~ProgramExpansion() override { unsetenv("WAN_EXPANDER_KEY"); }

  Outcome run(const Words& words) { return Process("wan-infer", words, folder_.path()).finish(); }
  static Words job(const Words& more) {
    Words words = {"t2v",
                   "--unlocked",
                   "--model",
                   kNano,
                   "--prompt",
                   "a red circle",
                   "--width",
                   "32",
                   "--height",
                   "32",
                   "--num-frames",
                   "5",
                   "--num-inference-steps",
                   "2",
                   "--seed",
                   "42",
                   "--device",
                   "cpu",
                   "--threads",
                   "1",
                   "--out",
                   "a.mp4"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  TemporaryFolder folder_;
  const ChatServer server_;
};

TEST_F(ProgramExpansion, OneFlagExpandsAndAReplayAsksNobody) {
  setenv("WAN_EXPANDER_KEY", "sk-secret-7", 1);
  const Outcome made = run(job({"--expander-url", server_.url(), "--expander-model", "small"}));
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(server_.calls(), 1);
  EXPECT_NE(server_.last_headers().find("authorization: bearer sk-secret-7"), std::string::npos);
  EXPECT_NE(made.err.find("A bright red circle"), std::string::npos) << made.err;
  const Outcome shown = run({"show", "a.mp4"});
  EXPECT_NE(shown.out.find("\"expanded_prompt\": \"" + kExpandedPrompt), std::string::npos) << shown.out;
  const Outcome replayed =
      run({"replay", "a.mp4", "--model", kNano, "--device", "cpu", "--threads", "1", "--out", "b.mp4"});
  ASSERT_EQ(replayed.code, 0) << replayed.err;
  EXPECT_TRUE(content(folder_ / "a.mp4") == content(folder_ / "b.mp4"));
  const Outcome again = run(job({"--expander-url", server_.url(), "--expander-model", "small"}));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(server_.calls(), 1) << "neither a replay nor a finished video asks";
  const std::string seen = made.out + made.err + shown.out + replayed.err + content(folder_ / "a.mp4");
  EXPECT_EQ(seen.find("sk-secret-7"), std::string::npos);
}

TEST_F(ProgramExpansion, ADryRunAndACheckAskNobody) {
  const Outcome dry = run(job({"--expander-url", server_.url(), "--dry-run"}));
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_NE(dry.out.find("nobody is asked now"), std::string::npos) << dry.out;
  Words checked = job({"--expander-url", server_.url()});
  checked.insert(checked.begin(), "check");
  const Outcome check = run(checked);
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_NE((check.out + check.err).find("nobody is asked now"), std::string::npos) << check.out;
  EXPECT_EQ(server_.calls(), 0);
}

TEST_F(ProgramExpansion, WhatCannotBeIsToldBeforeAnyWork) {
  const auto refusal = [&](const Words& more) {
    const Outcome refused = run(job(more));
    EXPECT_EQ(refused.code, 2) << refused.err;
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
    return refused.err;
  };
  EXPECT_NE(refusal({"--enable-prompt-expansion"}).find("--expander-url names one"), std::string::npos);
  EXPECT_NE(refusal({"--expander-model", "m"}).find("[--expander-model] needs"), std::string::npos);
  const std::string secret = refusal({"--expander-url", "http://anna:secret@host"});
  EXPECT_NE(secret.find("WAN_EXPANDER_KEY"), std::string::npos);
  EXPECT_EQ(secret.find("secret"), std::string::npos) << secret;
  setenv("WAN_EXPANDER_KEY", "two words", 1);
  const std::string key = refusal({"--expander-url", server_.url()});
  EXPECT_NE(key.find("[WAN_EXPANDER_KEY]"), std::string::npos) << key;
  EXPECT_EQ(key.find("two words"), std::string::npos) << key;
  EXPECT_EQ(server_.calls(), 0);
}

TEST_F(ProgramExpansion, AServerThatIsNotThereIsOneClearLine) {
  const Outcome made = run(job({"--expander-url", "http://127.0.0.1:1"}));
  ASSERT_EQ(made.code, 0) << made.err;
  const size_t note = made.err.find("note [--enable-prompt-expansion] the prompt is used as it was given");
  const size_t other = made.err.find("the prompt is used as it was given");
  EXPECT_NE(std::min(note, other), std::string::npos) << made.err;
  EXPECT_NE(made.err.find("no connection to it (Connection refused)"), std::string::npos) << made.err;
}

}  // namespace
}  // namespace wan
