// Renders of the tiny checkpoint whose prompts a language server writes out, or does not.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "engine/job/check.h"
#include "engine/job/expansion.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/request/parse.h"
#include "tests/support/chat_server.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
const std::string kPictures = WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-I2V-A14B";
constexpr const char* kPrompt = "a red circle";

class ExpansionJob : public testing::Test {
 protected:
  /// Text to video of two steps that asks `url`, where one is given; null takes a field away.
  Request request(const std::string& out, const std::string& url = "", const json& more = json::object()) const {
    json fields = {{"task", "t2v"},   {"model", kNano}, {"prompt", kPrompt},   {"unlocked", true},
                   {"width", 32},     {"height", 32},   {"num_frames", 5},     {"num_inference_steps", 2},
                   {"device", "cpu"}, {"seed", 1},      {"out", folder_ / out}};
    if (!url.empty()) fields["expander_url"] = url, fields["expander_timeout"] = 20;
    fields.update(more);
    return parse(fields, {.folder = folder_.path()});
  }

  std::string run(const Request& request, const SingleOptions& options = {}) {
    Silent silent;
    return render(request, options, log_, silent);
  }
  Record record_of(const Request& made) const { return parse_record(read_metadata({made.out, "out"}), "out"); }
  std::string bytes(const std::string& out) const { return bytes_of(folder_ / out); }

  /// Renders with that server and expects the prompt to be used as it was given; returns why.
  std::string fallback(const ChatServer& server, const std::string& name, const json& more = json::object()) {
    const Request asked = request(name + ".mp4", server.url(), more);
    run(asked);
    const Record record = record_of(asked);
    EXPECT_EQ(record.expanded_prompt, "") << name;
    std::string why;
    for (const Note& note : record.notes)
      if (note.subject == kExpansionSubject) why += note.text;
    const std::string begin = "the prompt is used as it was given, also where this job goes on later: ";
    EXPECT_TRUE(why.starts_with(begin)) << name << ": " << why;
    // The frames are those of the given prompt.
    json none = more;
    none["metadata"] = "none";
    const Request plain = request(name + "-plain.mp4", "", {{"metadata", "none"}});
    run(plain);
    const Request again = request(name + "-none.mp4", server.url(), none);
    run(again);
    EXPECT_TRUE(bytes_of(again.out) == bytes_of(plain.out)) << name;
    return why.substr(std::min(begin.size(), why.size()));
  }

  std::vector<std::string> logged(const std::string& event) const {
    std::vector<std::string> lines;
    for (const auto& [name, fields] : events_)
      if (name == event) lines.push_back(fields.dump());
    return lines;
  }

  c10::InferenceMode inference_;
  TemporaryFolder folder_;
  std::vector<std::pair<std::string, Log::Fields>> events_;
  const Log log_{[this](std::string_view event, const Log::Fields& fields) { events_.emplace_back(event, fields); }};
};

TEST_F(ExpansionJob, IsTheVideoOfTheExpandedPrompt) {
  const ChatServer server;
  run(request("a.mp4", server.url(), {{"metadata", "none"}, {"expander_model", "small"}}));
  run(request("b.mp4", "", {{"metadata", "none"}, {"prompt", kExpandedPrompt}}));
  run(request("c.mp4", "", {{"metadata", "none"}}));
  EXPECT_EQ(server.calls(), 1);
  EXPECT_TRUE(bytes("a.mp4") == bytes("b.mp4"));
  EXPECT_FALSE(bytes("a.mp4") == bytes("c.mp4"));
  EXPECT_EQ(server.paths(), std::vector<std::string>{"POST /v1/chat/completions"});
  const json asked = server.questions().at(0);
  EXPECT_EQ(asked.at("model"), "small");
  EXPECT_EQ(asked.at("stream"), false);
  EXPECT_TRUE(asked.contains("seed") && asked.contains("temperature"));
  EXPECT_EQ(asked.at("messages").size(), 2u);
  EXPECT_EQ(asked["messages"][0]["role"], "system");
  EXPECT_NE(asked["messages"][1]["content"].get<std::string>().find(kPrompt), std::string::npos);
  ASSERT_EQ(logged("expansion").size(), 1u);
  EXPECT_NE(logged("expansion")[0].find(kExpandedPrompt), std::string::npos);
  // Before the answer, which may take long, it is told which job waits for whom.
  ASSERT_EQ(logged("expanding").size(), 1u);
  for (const char* words : {"a.mp4", "127.0.0.1", "\"timeout_seconds\":20"})
    EXPECT_NE(logged("expanding")[0].find(words), std::string::npos) << logged("expanding")[0];
  EXPECT_NE(logged("expansion")[0].find("a.mp4"), std::string::npos) << logged("expansion")[0];
}

TEST_F(ExpansionJob, NobodyIsAskedUnlessTheRequestWantsIt) {
  const ChatServer server;
  run(request("a.mp4", server.url(), {{"enable_prompt_expansion", false}}));
  EXPECT_EQ(server.calls(), 0);
  EXPECT_EQ(record_of(request("a.mp4")).expanded_prompt, "");
}

TEST_F(ExpansionJob, AReplayUsesTheTextAndAsksNobody) {
  const ChatServer server;
  const Request asked = request("a.mp4", server.url());
  run(asked);
  const Record record = record_of(asked);
  EXPECT_EQ(record.expanded_prompt, kExpandedPrompt);
  EXPECT_EQ(record.request.prompt, kPrompt);
  Request again = record.request;
  again.model = kNano;
  again.out = folder_ / "again.mp4";
  again.out_given = true;
  run(again, {.expansion = recorded_expansion(record.expanded_prompt, record.notes)});
  EXPECT_TRUE(bytes("again.mp4") == bytes("a.mp4"));
  EXPECT_EQ(server.calls(), 1);
}

TEST_F(ExpansionJob, AReplayOfAFallbackIsThatFallback) {
  const ChatServer server("<html>");
  const Request asked = request("a.mp4", server.url());
  run(asked);
  const Record record = record_of(asked);
  Request again = record.request;
  again.model = kNano;
  again.out = folder_ / "again.mp4";
  again.out_given = true;
  run(again, {.expansion = recorded_expansion(record.expanded_prompt, record.notes)});
  EXPECT_TRUE(bytes("again.mp4") == bytes("a.mp4"));
  EXPECT_EQ(server.calls(), 1);
}

TEST_F(ExpansionJob, AFinishedJobIsFinishedWithoutACall) {
  const ChatServer server;
  const Request asked = request("a.mp4", server.url());
  run(asked);
  run(asked);
  EXPECT_EQ(server.calls(), 1);
  EXPECT_EQ(logged("finished").size(), 1u);
  // Another model would write another text.
  EXPECT_THROW(run(request("a.mp4", server.url(), {{"expander_model", "other"}})), InvalidRequest);
}

TEST_F(ExpansionJob, GoesOnWithTheTextThatItBeganWith) {
  // Each answer is another one.
  std::atomic<int> answers = 0;
  const ChatServer server([&](WebClient& client, const json&) {
    const std::string text = kExpandedPrompt + (answers++ == 0 ? "" : " in another way");
    client.answer("200 OK", "", chat_of(text));
  });
  const json steps = {{"num_inference_steps", 4}};
  const Request asked = request("a.mp4", server.url(), steps);
  for (const int64_t stop : {0, 1, 1}) {
    Steps progress(stop);
    EXPECT_THROW(render(asked, {.save_every = {}}, log_, progress), Cancelled);
  }
  // The server may be elsewhere by then, or gone.
  run(request("a.mp4", "http://127.0.0.1:1", steps));
  EXPECT_EQ(server.calls(), 1);
  answers = 0;
  run(request("b.mp4", server.url(), steps));
  EXPECT_TRUE(bytes("a.mp4") == bytes("b.mp4"));
}

TEST_F(ExpansionJob, StepsOfATextThatIsLostAreMadeAgain) {
  std::atomic<int> answers = 0;
  const ChatServer server([&](WebClient& client, const json&) {
    client.answer("200 OK", "", chat_of(kExpandedPrompt + (answers++ == 0 ? "" : " in another way")));
  });
  const json steps = {{"num_inference_steps", 4}, {"metadata", "none"}};
  const Request asked = request("a.mp4", server.url(), steps);
  Steps progress(2);
  EXPECT_THROW(render(asked, {.save_every = {}}, log_, progress), Cancelled);
  const fs::path journal = folder_ / "a.mp4.work/journal.jsonl";
  std::string kept;
  std::ifstream in(journal);
  for (std::string line; std::getline(in, line);)
    if (line.find("expansion") == line.npos) kept += line + "\n";
  std::ofstream(journal) << kept;
  run(asked);
  EXPECT_EQ(server.calls(), 2);
  json by_hand = steps;
  by_hand["prompt"] = kExpandedPrompt + " in another way";
  run(request("b.mp4", "", by_hand));
  EXPECT_TRUE(bytes("a.mp4") == bytes("b.mp4"));
}

TEST_F(ExpansionJob, EqualPromptsOfABatchAreAskedOnce) {
  const ChatServer server;
  const auto add = [&](json more) {
    json line = {{"task", "t2v"},     {"model", kNano},
                 {"prompt", kPrompt}, {"unlocked", true},
                 {"width", 32},       {"height", 32},
                 {"num_frames", 5},   {"num_inference_steps", 2},
                 {"device", "cpu"},   {"expander_url", server.url()}};
    line.update(more);
    std::ofstream(folder_ / "list.jsonl", std::ios::app) << line.dump() << "\n";
  };
  add({{"out", "a.mp4"}, {"seeds", {1, 2, 3}}});
  add({{"out", "b.mp4"}, {"seed", 1}, {"num_inference_steps", 3}});
  add({{"out", "c.mp4"}, {"seed", 1}, {"prompt", "a blue square"}});
  add({{"out", "d.mp4"}, {"seed", 1}, {"expander_model", "other"}});
  add({{"out", "e.mp4"}, {"seed", 1}, {"enable_prompt_expansion", false}});
  const auto batch = [&] {
    WorkFolder work(folder_ / "work", 1);
    Silent silent;
    return run_jobs(jobs_of(folder_ / "list.jsonl", 1), work, {.save_every = {}}, log_, silent);
  };
  const RunResult result = batch();
  EXPECT_EQ(result.count(JobState::Done), 7);
  EXPECT_EQ(server.calls(), 3) << "a prompt, another one, and another model";
  EXPECT_EQ(result.prompts_encoded, 3) << "the text, the empty one, and the plain prompt of the last job";
  EXPECT_EQ(result.jobs[0].expanded_prompt, kExpandedPrompt);
  EXPECT_EQ(result.jobs[6].expanded_prompt, "");
  const RunResult again = batch();
  EXPECT_EQ(again.count(JobState::Kept), 7);
  EXPECT_EQ(server.calls(), 3);
  EXPECT_EQ(again.jobs[0].expanded_prompt, kExpandedPrompt) << "a server is told of it again";
  // A file that is lost is rendered again, with the same text.
  const std::string before = bytes("c.mp4");
  fs::remove(folder_ / "c.mp4");
  EXPECT_EQ(batch().count(JobState::Done), 1);
  EXPECT_EQ(server.calls(), 3);
  EXPECT_TRUE(bytes("c.mp4") == before);
}

TEST_F(ExpansionJob, WhatIsOfNoUseLeavesThePromptAsItWas) {
  const auto why = [&](const std::string& name, const std::string& body, const std::string& status = "200 OK") {
    const ChatServer server(body, status);
    return fallback(server, name);
  };
  EXPECT_EQ(why("html", "<html>hello</html>"),
            "the language server: its answer is a page of HTML, not JSON; the URL may be another program's");
  EXPECT_EQ(why("large", std::string(10 << 20, 'x')), "the language server: its answer has more than 1 MiB");
  EXPECT_EQ(why("empty", ""), "the language server: its answer is empty");
  EXPECT_NE(why("refusal", chat_of("I'm sorry, but I can't help with that.")).find("it refuses"), std::string::npos);
  EXPECT_EQ(why("key", R"({"error": {"message": "who are you"}})", "401 Unauthorized"),
            "the language server: it answers 401 and asks for a key, which stands in the environment: "
            "WAN_EXPANDER_KEY");
  EXPECT_EQ(why("error", "oh", "500 Internal Server Error"), "the language server: it answers 500");
}

TEST_F(ExpansionJob, AServerThatHangsCostsItsTimeAlone) {
  for (const bool trickles : {false, true}) {
    const ChatServer server([&](WebClient& client, const json&) {
      if (trickles) client.send("HTTP/1.1 200 OK\r\n\r\n");
      while (client.wait(50) && (!trickles || client.send(" "))) {
      }
    });
    EXPECT_EQ(fallback(server, trickles ? "trickle" : "hang", {{"expander_timeout", 1}}),
              "the language server: it does not answer within 1 s; --expander-timeout SECONDS gives it longer");
    EXPECT_EQ(server.calls(), 2) << "once for each render";
  }
}

TEST_F(ExpansionJob, ASilentServerIsNotAskedForEveryJob) {
  WorkFolder work(folder_ / "work", 1);
  Expander expander(work, "", log_);
  Silent silent;
  std::vector<std::string> reasons;
  for (int i = 0; i < 5; ++i) {
    const Request asked = request("a.mp4", "http://127.0.0.1:1", {{"prompt", "circle " + std::to_string(i)}});
    reasons.push_back(expander.of({.job = std::to_string(i), .request = asked}, silent).notes.at(0).text);
  }
  EXPECT_NE(reasons[2].find("no connection"), std::string::npos) << reasons[2];
  EXPECT_NE(reasons[3].find("3 times in a row"), std::string::npos) << reasons[3];
  EXPECT_NE(reasons[4].find("3 times in a row"), std::string::npos) << reasons[4];
}

TEST_F(ExpansionJob, AServerThatLoadsItsModelIsWaitedFor) {
  std::atomic<int> asked = 0;
  const ChatServer server([&](WebClient& client, const json&) {
    if (asked++ == 0) return client.answer("503 Service Unavailable", "", R"({"error": {"message": "Loading model"}})");
    client.answer("200 OK", "", chat_of(kExpandedPrompt));
  });
  run(request("a.mp4", server.url()));
  EXPECT_EQ(record_of(request("a.mp4")).expanded_prompt, kExpandedPrompt);
  EXPECT_EQ(server.calls(), 2);
  const ChatServer loads(R"({"error": {"message": "Loading model"}})", "503 Service Unavailable");
  EXPECT_EQ(fallback(loads, "loads", {{"expander_timeout", 1}}),
            "the language server: it answers 503 for 1 s, as a server does that loads its model; --expander-timeout "
            "SECONDS waits longer");
}

TEST_F(ExpansionJob, AnInterruptWhileItWaitsEndsTheRun) {
  struct Stopped : Silent {
    explicit Stopped(const std::atomic<int>& asked) : asked(asked) {}
    void check() override {
      if (asked > 0) throw Cancelled();
    }
    const std::atomic<int>& asked;
  };
  std::atomic<int> asked = 0;
  const ChatServer server([&](WebClient& client, const json&) {
    ++asked;
    client.wait(60'000);
  });
  Stopped progress(asked);
  EXPECT_THROW(render(request("a.mp4", server.url()), {}, log_, progress), Cancelled);
  EXPECT_FALSE(fs::exists(folder_ / "a.mp4.work")) << "nothing was done";
}

TEST_F(ExpansionJob, TheKeyGoesToTheServerAndNowhereElse) {
  const ChatServer server;
  run(request("a.mp4", server.url()), {.expander_key = "sk-secret-1"});
  EXPECT_NE(server.last_headers().find("authorization: bearer sk-secret-1"), std::string::npos);
  const ChatServer echo(chat_of(kExpandedPrompt + " sk-secret-1"));
  run(request("b.mp4", echo.url()), {.expander_key = "sk-secret-1"});
  const ChatServer refuses(R"({"error": {"message": "sk-secret-1 is wrong"}})", "403 Forbidden");
  run(request("c.mp4", refuses.url()), {.expander_key = "sk-secret-1"});
  std::string seen = bytes("a.mp4") + bytes("b.mp4") + bytes("c.mp4");
  for (const auto& [event, fields] : events_) seen += fields.dump();
  EXPECT_EQ(seen.find("sk-secret-1"), std::string::npos);
  EXPECT_EQ(bytes("a.mp4").find("127.0.0.1"), std::string::npos) << "a video names no hosts";
  EXPECT_EQ(bytes("c.mp4").find("127.0.0.1"), std::string::npos);
}

TEST_F(ExpansionJob, ThePictureGoesWithThePrompt) {
  write_png(folder_ / "first.png", moving_picture(2, 1024, 512)[0]);
  write_png(folder_ / "last.png", moving_picture(2, 64, 64)[1]);
  const json pictured = {
      {"task", "i2v"}, {"model", kPictures}, {"image_url", "first.png"}, {"width", 64}, {"height", 64}};
  const ChatServer sees;
  run(request("a.mp4", sees.url(), pictured));
  json both = pictured;
  both["last_image_url"] = "last.png";
  run(request("b.mp4", sees.url(), both));
  ASSERT_EQ(sees.calls(), 2);
  const json content = sees.questions().at(0)["messages"][1]["content"];
  ASSERT_EQ(content.size(), 2u) << content.dump().substr(0, 200);
  EXPECT_TRUE(content[1]["image_url"]["url"].get<std::string>().starts_with("data:image/jpeg;base64,/9j/"));
  EXPECT_LT(content.dump().size(), 1u << 20) << "made smaller";
  EXPECT_EQ(sees.questions().at(1)["messages"][1]["content"].size(), 3u);

  const ChatServer blind([](WebClient& client, const json& body) {
    if (body["messages"][1]["content"].is_array()) return client.answer("500 Internal Server Error", "", "{}");
    client.answer("200 OK", "", chat_of(kExpandedPrompt));
  });
  const Request asked = request("c.mp4", blind.url(), pictured);
  run(asked);
  EXPECT_EQ(blind.calls(), 2);
  const Record record = record_of(asked);
  EXPECT_EQ(record.expanded_prompt, kExpandedPrompt);
  ASSERT_FALSE(record.notes.empty());
  EXPECT_TRUE(std::any_of(record.notes.begin(), record.notes.end(), [](const Note& note) {
    return note.text.find("takes no pictures (it answers 500)") != std::string::npos;
  }));
  EXPECT_NE(blind.questions().at(1)["messages"][0]["content"].get<std::string>().find("do not see"), std::string::npos);
}

TEST_F(ExpansionJob, MinimalMetadataHaveNoPromptOfEitherKind) {
  const ChatServer server;
  run(request("a.mp4", server.url(), {{"metadata", "minimal"}}));
  EXPECT_EQ(bytes("a.mp4").find("red circle"), std::string::npos);
  EXPECT_NE(bytes("a.mp4").find("wan_infer"), std::string::npos);
}

TEST_F(ExpansionJob, AnEmptyPromptIsNotSent) {
  const ChatServer server;
  run(request("a.mp4", server.url(), {{"prompt", " "}}));
  run(request("b.mp4", server.url(), {{"prompt", std::string(8001, 'a')}}));
  EXPECT_EQ(server.calls(), 0);
  int64_t told = 0;
  for (const auto& [event, fields] : events_)
    told += event == "note" && fields.value("subject", "") == kExpansionSubject;
  EXPECT_EQ(told, 2) << "one has no words, the other too many";
}

TEST_F(ExpansionJob, BlockedWordsAreLookedForInTheExpandedPrompt) {
  const ChatServer server(
      chat_of("A lynx walks through deep snow in the last light of the day, and the camera follows it."));
  std::ofstream(folder_ / "words.txt") << "lynx\n";
  const json words = {{"blocked_words", folder_ / "words.txt"}};
  try {
    run(request("a.mp4", server.url(), words));
    ADD_FAILURE() << "it was rendered";
  } catch (const SafetyRefusal& refused) {
    EXPECT_EQ(refused.field, "expanded_prompt");
    EXPECT_NE(refused.wrong.find("lynx"), std::string::npos) << refused.wrong;
    EXPECT_NE(refused.way.find("--no-enable-prompt-expansion"), std::string::npos) << refused.way;
  }
  EXPECT_FALSE(fs::exists(folder_ / "a.mp4"));
  json flag = words;
  flag["safety_action"] = "flag";
  const Request told = request("b.mp4", server.url(), flag);
  run(told);
  EXPECT_TRUE(record_of(told).safety.inputs.at("expanded_prompt").flagged);
  // Of a finished video by the list as it is now.
  std::ofstream(folder_ / "words.txt") << "bear\n";
  const Request made = request("c.mp4", server.url(), words);
  run(made);
  std::ofstream(folder_ / "words.txt") << "lynx\n";
  EXPECT_THROW(run(made), SafetyRefusal);
}

TEST_F(ExpansionJob, ACheckAsksNobodyAndSaysSo) {
  const ChatServer server;
  Silent silent;
  fs::create_directory(folder_ / "scratch");
  CheckOptions options;
  options.work = folder_ / "a.mp4.work";
  options.scratch = folder_ / "scratch";
  const std::vector<CheckResult> results =
      check_jobs({{.line = 0, .request = request("a.mp4", server.url())}}, options, silent);
  EXPECT_FALSE(results.at(0).failure);
  EXPECT_TRUE(std::any_of(results[0].notes.begin(), results[0].notes.end(), [](const Note& note) {
    return note.subject == kExpansionSubject && note.text.find("nobody is asked now") != std::string::npos;
  }));
  EXPECT_EQ(server.calls(), 0);
}

}  // namespace
}  // namespace wan
