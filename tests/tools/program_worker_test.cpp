// The built worker of wan-serve over its pipes: what it is told, what it tells, and what it leaves for the next one.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "models/files/folder_lock.h"
#include "tests/support.h"
#include "tests/support/chat_server.h"
#include "tests/support/safety_checkers.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

using nlohmann::json;

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

/// A worker that is spoken to. The destructor kills it.
class Talk {
 public:
  explicit Talk(const std::filesystem::path& folder,
                std::vector<std::string> words = {"--device", "cpu", "--threads", "1"}) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    errors_ = folder / "worker.err";
    words.insert(words.begin(), {WAN_BINARY_DIR "/tools/wan-engine", "worker"});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    child_ = fork();
    if (child_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(open(errors_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Talk() {
    end_input();
    if (!reaped_) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
    close(out_);
  }

  void say(const json& message) { say(message.dump() + "\n"); }
  void say(const std::string& text) { ASSERT_EQ(write(in_, text.data(), text.size()), ssize_t(text.size())); }
  void end_input() {
    if (in_ >= 0) close(in_);
    in_ = -1;
  }
  void signal(int number) { kill(child_, number); }

  /// Reads until a message of this kind comes, of this job where one is named; null where the output ends before.
  json wait_for(const std::string& is, const std::string& job = "") {
    for (json message = next(); !message.is_null(); message = next())
      if (message["is"] == is && (job.empty() || message.value("job", "") == job)) return message;
    return nullptr;
  }
  /// Reads to the end of its output. Returns the exit code, or 128 and the signal.
  int finish() {
    while (!next().is_null()) {
    }
    int status = 0;
    waitpid(child_, &status, 0);
    reaped_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// All messages so far.
  const std::vector<json>& heard() const { return heard_; }
  int64_t count(const std::string& is, const std::string& job) const {
    return std::count_if(heard_.begin(), heard_.end(),
                         [&](const json& message) { return message["is"] == is && message.value("job", "") == job; });
  }
  /// Whether a line of the job's log has the text.
  bool logged(const std::string& job, const std::string& text) const {
    return std::any_of(heard_.begin(), heard_.end(), [&](const json& message) {
      return message["is"] == "log" && message["job"] == job &&
             message["message"].get<std::string>().find(text) != std::string::npos;
    });
  }
  std::string errors() const { return content(errors_); }

 private:
  json next() {
    for (size_t end; (end = rest_.find('\n')) == std::string::npos;) {
      pollfd file = {out_, POLLIN, 0};
      char piece[4096];
      const ssize_t size = poll(&file, 1, 120'000) == 1 ? read(out_, piece, sizeof piece) : 0;
      if (size <= 0) return nullptr;
      rest_.append(piece, size_t(size));
    }
    const size_t end = rest_.find('\n');
    json message = json::parse(rest_.substr(0, end), nullptr, false);
    EXPECT_TRUE(message.is_object() && message.contains("is")) << rest_.substr(0, end);
    rest_.erase(0, end + 1);
    heard_.push_back(message);
    return message;
  }

  pid_t child_ = -1;
  int in_ = -1, out_ = -1;
  bool reaped_ = false;
  std::filesystem::path errors_;
  std::string rest_;
  std::vector<json> heard_;
};

class ProgramWorker : public testing::Test {
 protected:
  json item(const std::string& id, json more = json::object()) const {
    json fields = {{"task", "t2v"},
                   {"model", kNano.string()},
                   {"prompt", "a red circle moves up"},
                   {"unlocked", true},
                   {"width", 32},
                   {"height", 32},
                   {"num_frames", 5},
                   {"num_inference_steps", 2},
                   {"seed", 42}};
    fields.update(more);
    return {{"id", id},
            {"fields", fields},
            {"out", (folder_ / (id + ".mp4")).string()},
            {"preview", ""},
            {"withdrawn", false}};
  }
  json batch(const std::string& id, std::vector<json> jobs) const {
    return {{"do", "render"}, {"batch", id}, {"folder", (folder_ / id).string()}, {"jobs", std::move(jobs)}};
  }
  std::string bytes(const std::string& id) const { return content(folder_ / (id + ".mp4")); }

  TemporaryFolder folder_;
};

TEST_F(ProgramWorker, RendersBatchesAndTellsOfEachJob) {
  Talk worker(folder_.path());
  EXPECT_EQ(worker.wait_for("ready")["device"], "cpu");
  json withdrawn = item("gone");
  withdrawn["withdrawn"] = true;
  json pictured = item("one");
  pictured["preview"] = (folder_ / "one.jpg").string();
  worker.say(batch(
      "b1", {pictured, item("bad", {{"num_frames", "many"}, {"shift", -1}}), withdrawn, item("two", {{"seed", 43}})}));
  const json ended = worker.wait_for("batch");
  EXPECT_EQ(ended["batch"], "b1");
  EXPECT_EQ(ended["resident"], true);
  for (const std::string id : {"one", "two"}) {
    EXPECT_EQ(worker.count("begun", id), 1);
    EXPECT_EQ(worker.count("done", id), 1);
    EXPECT_GE(worker.count("progress", id), 1);
    EXPECT_TRUE(worker.logged(id, "step 1 of 2")) << worker.errors();
    EXPECT_FALSE(bytes(id).empty());
  }
  EXPECT_GE(worker.count("preview", "one"), 1);
  EXPECT_TRUE(content(folder_ / "one.jpg").starts_with("\xff\xd8"));
  EXPECT_TRUE(worker.logged("one", "loaded the high-noise expert in "));
  EXPECT_EQ(worker.count("failed", "gone") + worker.count("turn", "gone"), 0);
  for (const json& message : worker.heard()) {
    if (message["is"] == "failed") {
      EXPECT_EQ(message["job"], "bad");
      EXPECT_EQ(message["kind"], "request");
      EXPECT_EQ(message["errors"].size(), 2u) << "all of its bad fields at once";
    }
    if (message["is"] == "done" && message["job"] == "two") {
      EXPECT_EQ(message["seed"], 43);
      EXPECT_EQ(message["prompt"], "a red circle moves up");
      EXPECT_EQ(message["bytes"], bytes("two").size());
      EXPECT_GT(message["seconds"].get<double>(), 0);
    }
    if (message["is"] == "memory") {
      EXPECT_TRUE(message["stage_seconds"].contains("decode"));
    }
  }

  // The weights stay for the next batch, and change nothing of it.
  worker.say(batch("b2", {item("three")}));
  ASSERT_FALSE(worker.wait_for("batch").is_null()) << worker.errors();
  EXPECT_FALSE(worker.logged("three", "loaded the"));
  EXPECT_TRUE(bytes("three") == bytes("one"));
  worker.say(json{{"do", "unload"}});
  worker.say(batch("b3", {item("four")}));
  ASSERT_FALSE(worker.wait_for("batch").is_null());
  EXPECT_TRUE(worker.logged("four", "loaded the high-noise expert in "));
  worker.end_input();
  EXPECT_EQ(worker.finish(), 0);

  const Outcome alone = Process("wan-infer",
                                {"t2v",
                                 "--model",
                                 kNano,
                                 "--prompt",
                                 "a red circle moves up",
                                 "--unlocked",
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
                                 "alone.mp4"},
                                folder_.path())
                            .finish();
  ASSERT_EQ(alone.code, 0) << alone.err;
  EXPECT_TRUE(content(folder_ / "alone.mp4") == bytes("one"));
}

TEST_F(ProgramWorker, TellsWhatASafetyCheckSaid) {
  const std::string everything = write_safety_checker(folder_ / "everything", Flags::Everything),
                    nothing = write_safety_checker(folder_ / "nothing", Flags::Nothing);
  Talk worker(folder_.path());
  const auto checked = [&](const std::string& checker, const char* action) {
    return json{{"safety_checker", checker}, {"safety_action", action}, {"discard", true}};
  };
  worker.say(batch("b1", {item("bad", checked(everything, "refuse")), item("good", checked(nothing, "refuse")),
                          item("told", checked(everything, "flag"))}));
  ASSERT_FALSE(worker.wait_for("batch").is_null()) << worker.errors();
  int64_t seen = 0;
  for (const json& message : worker.heard()) {
    const std::string job = message.value("job", "");
    if (message["is"] == "failed") {
      ++seen;
      EXPECT_EQ(job, "bad");
      EXPECT_EQ(message["kind"], "refused");
      EXPECT_EQ(message["errors"][0]["type"], "content_policy_violation");
      EXPECT_EQ(message["errors"].dump().find("--"), std::string::npos) << "clients have no flags";
    } else if (message["is"] == "done") {
      ++seen;
      EXPECT_EQ(message["safety"]["flagged"], job == "told") << job;
    }
  }
  EXPECT_EQ(seen, 3);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().string().find("refused"), std::string::npos) << entry.path();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "bad.mp4"));
}

TEST_F(ProgramWorker, TellsHowManyForwardsAreReused) {
  Talk worker(folder_.path());
  json regular = {{"num_inference_steps", 27}, {"acceleration", "regular"}};
  regular["calibration"] = WAN_SOURCE_DIR "/tests/nano/calibration.json";
  worker.say(batch("b", {item("one", regular), item("two")}));
  ASSERT_FALSE(worker.wait_for("batch").is_null()) << worker.errors();
  EXPECT_EQ(worker.count("done", "one"), 1) << worker.errors();
  EXPECT_TRUE(worker.logged("one", " of 54 forwards reuse what an earlier step computed"));
  EXPECT_FALSE(worker.logged("two", "forwards reuse"));
}

TEST_F(ProgramWorker, CancelsOneJobAlone) {
  Talk worker(folder_.path());
  const json many = {{"num_inference_steps", 40}, {"num_frames", 17}, {"width", 64}, {"height", 64}};
  json other = many;
  other["seed"] = 7;
  worker.say(batch("b", {item("one", many), item("two", other), item("three")}));
  ASSERT_FALSE(worker.wait_for("progress", "one").is_null()) << worker.errors();
  worker.say(json{{"do", "cancel"}, {"job", "two"}});
  EXPECT_EQ(worker.wait_for("failed", "two")["kind"], "cancelled");
  EXPECT_EQ(worker.count("begun", "two"), 0) << "at once, while another one works";
  worker.say(json{{"do", "cancel"}, {"job", "one"}});
  EXPECT_EQ(worker.wait_for("failed", "one")["kind"], "cancelled");
  ASSERT_FALSE(worker.wait_for("batch").is_null());
  EXPECT_EQ(worker.count("done", "three"), 1);
  EXPECT_EQ(worker.count("failed", "one") + worker.count("failed", "two"), 2);
  EXPECT_TRUE(bytes("one").empty() && bytes("two").empty());
}

TEST_F(ProgramWorker, TellsWhichPromptWasUsed) {
  const ChatServer server;
  const json expanded = {{"enable_prompt_expansion", true}, {"expander_url", server.url()}, {"expander_timeout", 20}};
  std::string bytes_before;
  for (int i = 0; i < 2; ++i) {  // the second worker finds the job finished
    Talk worker(folder_.path());
    worker.say(batch("b", {item("one", expanded), item("two")}));
    EXPECT_EQ(worker.wait_for("done", "one")["prompt"], kExpandedPrompt) << worker.errors();
    EXPECT_EQ(worker.wait_for("done", "two")["prompt"], "a red circle moves up");
    EXPECT_EQ(worker.logged("one", "the prompt was expanded in "), i == 0);
    EXPECT_FALSE(worker.logged("one", "127.0.0.1")) << "where the language server is concerns no client";
    if (i == 0) bytes_before = bytes("one");
  }
  EXPECT_EQ(server.calls(), 1);
  EXPECT_TRUE(bytes("one") == bytes_before);
  EXPECT_FALSE(bytes("one") == bytes("two"));
}

TEST_F(ProgramWorker, AJobThatWaitsForALanguageServerCanBeCancelled) {
  const ChatServer server([](WebClient& client, const json&) { client.wait(120'000); });
  Talk worker(folder_.path());
  worker.say(
      batch("b", {item("one", {{"enable_prompt_expansion", true}, {"expander_url", server.url()}}), item("two")}));
  ASSERT_FALSE(worker.wait_for("turn", "one").is_null()) << worker.errors();
  worker.say(json{{"do", "cancel"}, {"job", "one"}});
  EXPECT_EQ(worker.wait_for("failed", "one")["kind"], "cancelled");
  EXPECT_FALSE(worker.wait_for("done", "two").is_null()) << "the others go on";
}

TEST_F(ProgramWorker, WhatOneLeavesTheNextGoesOnWith) {
  const json many = {{"num_inference_steps", 6}, {"num_frames", 9}};
  const json jobs = batch("b", {item("one", many), item("two", many)});
  std::string want;
  {
    Talk worker(folder_.path());
    worker.say(jobs);
    ASSERT_FALSE(worker.wait_for("batch").is_null()) << worker.errors();
    want = bytes("one");
    EXPECT_TRUE(bytes("two") == want) << "equal requests";
  }
  for (const int number : {0, SIGTERM, SIGKILL}) {
    SCOPED_TRACE(number);
    std::filesystem::remove_all(folder_ / "b");
    for (const char* name : {"one.mp4", "two.mp4"}) std::filesystem::remove(folder_ / name);
    {
      Talk worker(folder_.path());
      worker.say(jobs);
      ASSERT_FALSE(worker.wait_for("log", "two").is_null());
      worker.signal(SIGINT);  // of the server's terminal: the server says what is to be done
      ASSERT_FALSE(worker.wait_for("done", "one").is_null()) << worker.errors();
      if (number == 0) worker.say(json{{"do", "stop"}});
      if (number != 0) worker.signal(number);
      EXPECT_EQ(worker.finish(), number == SIGKILL ? 128 + SIGKILL : 0) << worker.errors();
    }
    Talk next(folder_.path());
    next.say(jobs);
    ASSERT_FALSE(next.wait_for("batch").is_null()) << next.errors();
    EXPECT_EQ(next.count("done", "one"), 1) << "told anew";
    EXPECT_FALSE(next.logged("one", "step ")) << "not rendered again";
    EXPECT_EQ(next.count("done", "two"), 1);
    EXPECT_TRUE(bytes("one") == want && bytes("two") == want);
  }
}

TEST_F(ProgramWorker, AFolderThatAnotherProcessHasIsWaitedFor) {
  Talk worker(folder_.path());
  std::filesystem::create_directory(folder_ / "b");
  auto other = std::make_unique<FolderLock>(folder_ / "b");
  ASSERT_TRUE(other->held());
  worker.say(batch("b", {item("one"), item("two")}));
  EXPECT_EQ(worker.wait_for("held")["batch"], "b");
  for (int i = 0; i < 2; ++i) ASSERT_FALSE(worker.wait_for("alive").is_null());
  EXPECT_GE(worker.count("held", ""), 2) << "the server takes it for hanging otherwise";
  worker.say(json{{"do", "cancel"}, {"job", "two"}});
  EXPECT_EQ(worker.wait_for("failed", "two")["kind"], "cancelled");
  other.reset();
  ASSERT_FALSE(worker.wait_for("batch").is_null()) << worker.errors();
  EXPECT_EQ(worker.count("done", "one"), 1);

  other = std::make_unique<FolderLock>(folder_ / "b");
  worker.say(batch("b", {item("three")}));
  EXPECT_EQ(worker.wait_for("held")["batch"], "b");
  worker.say(json{{"do", "cancel"}, {"job", "three"}});
  EXPECT_EQ(worker.wait_for("batch")["batch"], "b") << "nothing is left to wait for";
  worker.say(json{{"do", "stop"}});
  EXPECT_EQ(worker.finish(), 0);
}

TEST_F(ProgramWorker, WhatCannotStartSaysWhy) {
  Talk absent(folder_.path(), {"--device", "cuda:99"});
  EXPECT_EQ(absent.finish(), 3);
  EXPECT_NE(absent.errors().find("[device]"), std::string::npos) << absent.errors();
  Talk wrong(folder_.path(), {"--colour", "red"});
  EXPECT_EQ(wrong.finish(), 2);
}

TEST_F(ProgramWorker, TellsAgainAndAgainThatItLives) {
  Talk worker(folder_.path());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) ASSERT_FALSE(worker.wait_for("alive").is_null());
  // The server waits for two minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST_F(ProgramWorker, NonsenseOnItsInputEndsIt) {
  for (const std::string text : {"nonsense\n", "{\"do\": 7}\n", "{}\n", "{\"do\": \"render\", \"jobs\": []}\n"}) {
    Talk worker(folder_.path());
    ASSERT_FALSE(worker.wait_for("ready").is_null());
    worker.say(text);
    EXPECT_EQ(worker.finish(), 0) << text;
    EXPECT_NE(worker.errors().find("is no message"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace wan
