// wan-infer as the client of a running server, against one that answers as each test wants.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "tests/tools/process.h"
#include "tests/tools/remote_server.h"

namespace wan {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;
using Script = RemoteServer::Script;

const std::string kPicture = WAN_SOURCE_DIR "/tests/golden/media/rgb.png";
const json kDone = {{"status", "COMPLETED"}, {"metrics", {{"inference_time", 2.5}}}};

json failed(const char* type, const char* text) {
  return {{"status", "COMPLETED"}, {"error", text}, {"error_type", type}};
}

json wrong_frames() {
  return {{"detail",
           {{{"loc", {"body", "num_frames"}},
             {"type", "greater_than_equal"},
             {"msg", "Input should be greater than or equal to 17"},
             {"input", 20},
             {"ctx", {{"ge", 21}}}},
            {{"loc", {"body", "resolution"}},
             {"type", "literal_error"},
             {"msg", "Input should be '480p' or '580p'"},
             {"input", "720p"},
             {"ctx", {{"expected", "'480p' or '580p'"}}}},
            {{"loc", {"body", "prompt"}},
             {"type", "content_policy_violation"},
             {"msg", "Not\x1b[2J this"},
             {"input", ""}}}}};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

class ProgramRemote : public testing::Test {
 protected:
  ProgramRemote() {
    for (const char* name : {"WAN_SERVER", "WAN_SERVER_KEY", "http_proxy", "all_proxy", "HTTP_PROXY"}) unsetenv(name);
  }

  Words with_server(Words words) const {
    words.insert(words.end(), {"--server", server.url()});
    return words;
  }
  Outcome run(const Words& words) { return Process("wan-infer", with_server(words), folder.path()).finish(); }
  Outcome watch(Script made, Words more = {}) {
    Words words = {"watch", server.add_job(std::move(made))};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  void write_manifest(const std::string& text) { std::ofstream(folder / "list.jsonl") << text; }
  std::string file(const std::string& name) const { return content(folder / name); }

  TemporaryFolder folder;
  RemoteServer server;
};

using ProgramRemoteBatch = ProgramRemote;

TEST_F(ProgramRemote, SubmitPrintsTheIdAlone) {
  setenv("WAN_SERVER_KEY", "secret-key", 1);
  const Outcome sent = run({"submit", "t2v", "--prompt", "a fox", "--num-frames", "21", "--seed=7", "--acceleration",
                            "regular", "--no-adjust-fps-for-interpolation", "--priority", "low"});
  unsetenv("WAN_SERVER_KEY");
  ASSERT_EQ(sent.code, 0) << sent.err;
  EXPECT_EQ(sent.out, "0000-1\n");
  EXPECT_EQ(sent.err, "");
  ASSERT_EQ(server.bodies().size(), 1u);
  EXPECT_EQ(server.bodies()[0], (json{{"prompt", "a fox"},
                                      {"num_frames", 21},
                                      {"seed", 7},
                                      {"acceleration", "regular"},
                                      {"adjust_fps_for_interpolation", false}}));
  EXPECT_EQ(server.endpoints()[0], "fal-ai/wan/v2.2-a14b/text-to-video");
  EXPECT_TRUE(has(server.submit_headers(), "\r\nauthorization: key secret-key\r\n"));
  EXPECT_TRUE(has(server.submit_headers(), "\r\nx-fal-queue-priority: low\r\n"));
}

TEST_F(ProgramRemote, TheServerMayComeFromTheEnvironment) {
  setenv("WAN_SERVER", (server.url() + "/").c_str(), 1);
  const Outcome sent = Process("wan-infer", {"submit", "t2v", "--prompt", ""}, folder.path()).finish();
  unsetenv("WAN_SERVER");
  EXPECT_EQ(sent.code, 0) << sent.err;
  EXPECT_EQ(server.bodies().at(0), (json{{"prompt", ""}}));
}

TEST_F(ProgramRemote, FilesAreUploadedAndUrlsPassOn) {
  std::filesystem::copy_file(kPicture, folder / "my picture.PNG");
  const Outcome sent = run({"submit", "s2v", "--prompt", "", "--image", "my picture.PNG", "--audio",
                            "https://example.org/a.wav", "--key", "k"});
  ASSERT_EQ(sent.code, 0) << sent.err;
  EXPECT_EQ(sent.out, "0000-1\n");
  const auto uploads = server.uploads();
  ASSERT_EQ(uploads.size(), 1u);
  EXPECT_EQ(uploads.begin()->first, "1_my_picture.PNG");
  EXPECT_TRUE(uploads.begin()->second.content == content(kPicture));
  EXPECT_TRUE(has(uploads.begin()->second.headers, "\r\ncontent-type: image/png\r\n"));
  EXPECT_FALSE(has(uploads.begin()->second.headers, "authorization:")) << "the URL is the secret";
  EXPECT_EQ(server.bodies().at(0), (json{{"prompt", ""},
                                         {"image_url", server.url() + "/files/uploads/1_my_picture.PNG"},
                                         {"audio_url", "https://example.org/a.wav"}}));
  EXPECT_EQ(server.endpoints()[0], "fal-ai/wan/v2.2-14b/speech-to-video");
}

TEST_F(ProgramRemote, WhatLocalRunsAloneTakeIsRefusedByName) {
  const Outcome refused = run({"submit", "t2v", "--prompt", "", "--device", "cpu", "--model=x", "--out", "a.mp4",
                               "--unlocked", "--threads", "2", "--num-frames", "5"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(
      refused.err,
      "wan-infer: [--device] is for local runs: whoever runs the server decides it; leave it out\n"
      "wan-infer: [--model] is for local runs: the server has models of its own; leave it out\n"
      "wan-infer: [--out] is for local runs: the video lies at the server, and wan-infer watch ID --out FILE brings "
      "it\n"
      "wan-infer: [--unlocked] is for local runs: the endpoint of a server has no such field; leave it out, or render "
      "here\n"
      "wan-infer: [--threads] is for local runs: whoever runs the server decides it; leave it out\n"
      "wan-infer: [--num-frames] must be from 17 to 121, got 5\n");
  const Outcome batch = run({"batch", "list.jsonl", "--device", "cpu", "--order", "given"});
  EXPECT_EQ(batch.code, 2);
  EXPECT_TRUE(has(batch.err, "[--device] is for local runs")) << batch.err;
  EXPECT_TRUE(has(batch.err, "[--order] is for local runs: the server's queue decides")) << batch.err;
  EXPECT_EQ(server.requests(), 0);
}

TEST_F(ProgramRemote, WordsThatCannotBeRight) {
  struct Row {
    Words words;
    std::string error;
  };
  const std::vector<Row> rows = {
      {{"status", "a"}, "[--server] is required; give it with --server http://HOST:PORT, or in WAN_SERVER"},
      {{"status", "a", "--server", "host:8000"}, "[--server] must be the URL of a wan-serve, as http://HOST:PORT"},
      {{"status", "a", "--server", "http://me:secret@host"},
       "[--server] must have no name and password before its host"},
      {{"status", "../a", "--server", "http://host"}, "[ID] must be an id that wan-infer submit printed"},
      {{"status", "--server", "http://host"}, "[ID] is required; wan-infer status ID"},
      {{"status", "a", "--server", "http://host", "--key", "secret\nX: y"}, "[--key] must be at most 1000 visible"},
      {{"batch", "m", "--model", "x", "--key", "secret"}, "[--key] is for batches at a server"},
      {{"check", "batch", kPicture, "--server", "http://host"}, "[--server] is not taken by check"},
  };
  for (const Row& row : rows) {
    const Outcome refused = Process("wan-infer", row.words, folder.path()).finish();
    EXPECT_EQ(refused.code, 2) << row.error;
    EXPECT_TRUE(has(refused.err, row.error)) << refused.err;
    EXPECT_FALSE(has(refused.err, "secret")) << refused.err;
  }
}

TEST_F(ProgramRemote, RefusalsOfTheServerReadAsLocalOnes) {
  server.instead = [](WebClient& client) {
    client.read_body();
    RemoteServer::answer(client, "422 Unprocessable Entity", wrong_frames());
    return true;
  };
  const Outcome refused = run({"submit", "t2v", "--prompt", "", "--num-frames", "20"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err,
            "wan-infer: [--num-frames] must be at least 21, got 20\n"
            "wan-infer: [--resolution] must be 480p or 580p, got '720p'\n"
            "wan-infer: [--prompt] is refused by the server: Not\\x1B[2J this\n");
}

TEST_F(ProgramRemote, AFileThatIsTooLargeIsNamed) {
  std::ofstream(folder / "large.mp4") << std::string(3 << 20, 'x');
  server.instead = [](WebClient& client) {
    if (client.method != "PUT") return false;
    RemoteServer::answer(client, "413 Payload Too Large", {{"detail", "at most 1 MiB"}});  // before the content
    return true;
  };
  const Outcome refused = run({"submit", "v2v", "--prompt", "", "--video", "large.mp4"});
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_TRUE(has(refused.err, "[--video] is larger than the server takes: at most 1 MiB")) << refused.err;
  EXPECT_TRUE(server.bodies().empty());
}

TEST_F(ProgramRemote, APostIsNeverSentTwice) {
  server.instead = [](WebClient& client) {
    client.read_body();
    return true;  // and goes without an answer
  };
  const Outcome lost = run({"submit", "t2v", "--prompt", ""});
  EXPECT_EQ(lost.code, 1);
  EXPECT_TRUE(has(lost.err, "may or may not have got the request")) << lost.err;
  EXPECT_EQ(server.requests(), 1);
}

TEST_F(ProgramRemote, AGetIsAskedAgain) {
  server.instead = [this](WebClient& client) {
    if (server.requests() == 2) RemoteServer::answer(client, "503 Service Unavailable", {{"detail", "later"}});
    return server.requests() <= 3;  // the first and the third go without an answer
  };
  const std::string id = server.add_job({});
  const Outcome told = run({"status", id});
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_EQ(told.out, "done in 2.50 s\n");
  EXPECT_EQ(server.requests(), 4);
}

TEST_F(ProgramRemote, ABusyServerIsAskedAgainWithARequestItDidNotTake) {
  server.instead = [this](WebClient& client) {
    if (server.requests() > 1) return false;
    client.read_body();
    client.answer("429 Too Many Requests", "Retry-After: 0\r\nContent-Type: application/json\r\n",
                  R"({"detail": "full"})");
    return true;
  };
  const Outcome sent = run({"submit", "t2v", "--prompt", ""});
  EXPECT_EQ(sent.code, 0) << sent.err;
  EXPECT_EQ(sent.out, "0000-1\n");
  EXPECT_EQ(server.bodies().size(), 1u);
}

TEST_F(ProgramRemote, ABusyServerIsAskedAgainWithAFileItDidNotTake) {
  std::filesystem::copy_file(kPicture, folder / "fox.png");
  std::atomic<int> refused = 0;
  server.instead = [&](WebClient& client) {
    if (client.method != "PUT" || refused++ > 0) return false;
    client.read_body();
    client.answer("503 Service Unavailable", "Retry-After: 0\r\nContent-Type: application/json\r\n",
                  R"({"detail": "The server's disk is full"})");
    return true;
  };
  const Outcome sent = run({"submit", "i2v", "--prompt", "", "--image", "fox.png"});
  EXPECT_EQ(sent.code, 0) << sent.err;
  ASSERT_EQ(server.uploads().size(), 1u);
  EXPECT_TRUE(server.uploads().begin()->second.content == content(kPicture));
  EXPECT_EQ(server.bodies().size(), 1u);
}

TEST_F(ProgramRemote, NoServerAndNoWanServe) {
  const Outcome none = Process("wan-infer", {"status", "a", "--server", "http://127.0.0.1:1"}, folder.path()).finish();
  EXPECT_EQ(none.code, 1);
  EXPECT_TRUE(has(none.err, "gives no answer: no connection to '127.0.0.1' at port 1")) << none.err;
  EXPECT_TRUE(has(none.err, "is wan-serve running there?")) << none.err;
  server.instead = [](WebClient& client) { return client.answer("200 OK", "", "<html>"), true; };
  const Outcome other = run({"status", "a"});
  EXPECT_EQ(other.code, 1);
  EXPECT_TRUE(has(other.err, "is it a wan-serve?")) << other.err;
}

TEST_F(ProgramRemote, StatusSaysItInALine) {
  const std::pair<json, const char*> rows[] = {
      {{{"status", "IN_QUEUE"}, {"queue_position", 3}}, "queued, 3 before it\n"},
      {{{"status", "IN_PROGRESS"}, {"logs", nullptr}}, "running\n"},
      {{{"status", "IN_PROGRESS"},
        {"logs", nullptr},
        {"progress", {{"stage", "denoise"}, {"step", 12}, {"steps", 27}, {"expert", "high"}, {"seconds_left", 80}}}},
       "running: denoise 12/27, high noise, 1 min 20 s left\n"},
      {{{"status", "IN_PROGRESS"}, {"progress", {{"stage", "dance"}, {"step", "x"}}}}, "running\n"},
      {kDone, "done in 2.50 s\n"},
      {failed("client_cancelled", "by the client"), "cancelled\n"},
      {failed("internal_error", "the worker died"), "failed: the worker died\n"},
  };
  for (const auto& [state, line] : rows) {
    const Outcome told = run({"status", server.add_job({.states = {state}})});
    EXPECT_EQ(told.code, 0) << told.err;
    EXPECT_EQ(told.out, line);
    const Outcome all = run({"status", server.add_job({.states = {state}}), "--log-format", "json"});
    EXPECT_EQ(json::parse(all.out), state);
  }
  const Outcome unknown = run({"status", "0000-99"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_TRUE(has(unknown.err, "[ID] must be of a job that this server has for this key")) << unknown.err;
}

json running(int step, const std::vector<json>& logs = {}) {
  return {{"status", "IN_PROGRESS"},
          {"logs", logs},
          {"progress", {{"stage", "denoise"}, {"step", step}, {"steps", 3}, {"expert", "high"}, {"seconds_left", 5}}}};
}

json log_entry(const char* message, const char* level = "INFO") {
  return {{"message", message}, {"level", level}, {"source", "USER"}, {"timestamp", "2026-11-20T22:25:27.779Z"}};
}

TEST_F(ProgramRemote, WatchShowsTheJobAndBringsTheVideo) {
  const Outcome seen = watch({.states = {{{"status", "IN_QUEUE"}, {"queue_position", 2}},
                                         running(0, {log_entry("loaded inputs"), log_entry("odd", "WARN")}),
                                         running(2),
                                         kDone},
                              .video = std::string(300'000, 'v')},
                             {"--out", "fox.mp4"});
  ASSERT_EQ(seen.code, 0) << seen.err;
  EXPECT_TRUE(file("fox.mp4") == std::string(300'000, 'v'));
  EXPECT_EQ(seen.out, "");
  EXPECT_EQ(seen.err, "queued before=2\nloaded inputs\nWARN odd\ndenoise 0/3  high noise  all 0:05\n" +
                          seen.err.substr(seen.err.find("denoise 2/3")));
  EXPECT_TRUE(has(seen.err, "\ndone out=fox.mp4 bytes=300000 seed=42 seconds=2.5\n")) << seen.err;
  // No other file is left.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST_F(ProgramRemote, WatchSpeaksJson) {
  const Outcome seen = watch({.states = {running(1, {log_entry("a")}), kDone}}, {"--log-format", "json"});
  ASSERT_EQ(seen.code, 0) << seen.err;
  std::istringstream lines(seen.err);
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line).at("event"));
  EXPECT_EQ(events, (std::vector<std::string>{"log", "progress", "done"}));
  EXPECT_EQ(file("0000-1.mp4"), "a video") << "the server told no task: the id names it";
}

TEST_F(ProgramRemote, WatchNamesTheVideoAsALocalRunWhereItCan) {
  json done = kDone;
  done["endpoint"] = "fal-ai/wan/v2.2-a14b/image-to-video";
  ASSERT_EQ(watch({.states = {done}}).code, 0);
  ASSERT_EQ(watch({.states = {done}, .video = "another"}).code, 0);
  EXPECT_EQ(file("i2v-42.mp4"), "a video");
  EXPECT_EQ(file("i2v-42-2.mp4"), "another");
}

TEST_F(ProgramRemote, ABrokenStreamIsTakenUpAgain) {
  const json first = running(0, {log_entry("one"), log_entry("two")});
  const Outcome seen = watch({.states = {first,
                                         {{"cut", true}},
                                         running(1, {log_entry("one"), log_entry("two"), log_entry("three")}),
                                         {{"cut", true}},
                                         kDone}});
  ASSERT_EQ(seen.code, 0) << seen.err;
  size_t count = 0;
  for (size_t at = seen.err.find("two\n"); at != seen.err.npos; at = seen.err.find("two\n", at + 1)) ++count;
  EXPECT_EQ(count, 1u) << seen.err;
  EXPECT_TRUE(has(seen.err, "three\n")) << seen.err;
  EXPECT_EQ(file("0000-1.mp4"), "a video");
}

TEST_F(ProgramRemote, WatchEndsAsALocalRunWould) {
  const Outcome wrong =
      watch({.states = {failed("", "invalid")}, .result_status = "422 Unprocessable Entity", .result = wrong_frames()});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_TRUE(has(wrong.err, "wan-infer: [num_frames] must be at least 21, got 20\n")) << wrong.err;
  const Outcome died = watch({.states = {failed("internal_error", "the worker died twice")},
                              .result_status = "500 Internal Server Error",
                              .result = {{"detail", "the worker died twice"}}});
  EXPECT_EQ(died.code, 1);
  EXPECT_TRUE(has(died.err, "failed: the worker died twice")) << died.err;
  const Outcome cancelled = watch({.states = {failed("client_cancelled", "x")}});
  EXPECT_EQ(cancelled.code, 1);
  EXPECT_TRUE(has(cancelled.err, "was cancelled")) << cancelled.err;
  server.instead = [](WebClient& client) {
    RemoteServer::answer(client, "401 Unauthorized", {{"detail", "no"}, {"error_type", "auth_error"}});
    return true;
  };
  const Outcome key = watch({}, {"--key", "wrong-key"});
  EXPECT_EQ(key.code, 2);
  EXPECT_TRUE(has(key.err, "[--key] is not known to the server: no")) << key.err;
  EXPECT_FALSE(has(key.err, "wrong-key"));
}

// The result of a failed job has the job's own status, which is no word about the server.
TEST_F(ProgramRemote, AJobThatFailedWithABusyStatusHasFailed) {
  for (const char* status : {"503 Service Unavailable", "504 Gateway Timeout", "429 Too Many Requests"}) {
    const Outcome seen = watch({.states = {failed("runner_disconnected", "the process ended twice")},
                                .result_status = status,
                                .result = {{"detail", "the process ended twice"}}});
    EXPECT_EQ(seen.code, 1) << status;
    EXPECT_TRUE(has(seen.err, " failed: the process ended twice")) << seen.err;
    EXPECT_FALSE(has(seen.err, "goes on at the server")) << seen.err;
  }
}

TEST_F(ProgramRemote, AnInterruptAfterTheEndDoesNotSayThatTheJobGoesOn) {
  server.instead = [](WebClient& client) {
    if (!client.path.starts_with("/files/outputs/")) return false;
    client.wait(60'000);
    return true;
  };
  const std::string id = server.add_job({.states = {running(1), kDone}});
  Process process("wan-infer", with_server({"watch", id}), folder.path());
  ASSERT_TRUE(process.wait_for("denoise 1/3"));
  for (int i = 0; i < 3000 && server.requests() < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_EQ(server.requests(), 3) << "stream, result, video";
  process.signal(SIGINT);
  const Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_TRUE(has(stopped.err, "the job has ended at the server: wan-infer watch " + id)) << stopped.err;
  EXPECT_FALSE(has(stopped.err, "goes on at the server")) << stopped.err;
}

TEST_F(ProgramRemote, ATaskWithoutAModelIsToldInTheServersWords) {
  server.instead = [](WebClient& client) {
    client.read_body();
    RemoteServer::answer(client, "404 Not Found",
                         {{"detail", "This server has no model for t2v"}, {"error_type", "not_found"}});
    return true;
  };
  const Outcome refused = run({"submit", "t2v", "--prompt", ""});
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_EQ(refused.err, "wan-infer: [request] is refused by the server: This server has no model for t2v\n");
}

TEST_F(ProgramRemote, AKeyThatWasNotGivenIsRequired) {
  server.instead = [](WebClient& client) {
    client.read_body();
    RemoteServer::answer(client, "401 Unauthorized", {{"detail", "A key is needed"}, {"error_type", "auth_error"}});
    return true;
  };
  for (const Words& words :
       {Words{"status", "0000-1"}, Words{"watch", "0000-1"}, Words{"submit", "t2v", "--prompt", ""}}) {
    const Outcome refused = run(words);
    EXPECT_EQ(refused.code, 2) << refused.err;
    EXPECT_TRUE(has(refused.err, "[--key] is required by the server; --key or WAN_SERVER_KEY gives one"))
        << refused.err;
  }
}

TEST_F(ProgramRemote, AFileIsReplacedOnlyWhenAsked) {
  std::ofstream(folder / "a.mp4") << "mine";
  const Outcome refused = watch({}, {"--out", "a.mp4"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(has(refused.err, "[--out] must not be there already: 'a.mp4'; --overwrite replaces it")) << refused.err;
  EXPECT_EQ(server.requests(), 0);
  EXPECT_EQ(file("a.mp4"), "mine");
  EXPECT_EQ(watch({}, {"--out", "a.mp4", "--overwrite"}).code, 0);
  EXPECT_EQ(file("a.mp4"), "a video");
}

TEST_F(ProgramRemote, AnInterruptLeavesTheJobAtTheServer) {
  const std::string id = server.add_job({.states = {running(1), {{"hang", true}}}});
  Process process("wan-infer", with_server({"watch", id}), folder.path());
  ASSERT_TRUE(process.wait_for("denoise 1/3"));
  process.signal(SIGINT);
  const Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_TRUE(has(stopped.err, "wan-infer: [stop] interrupted; the job goes on at the server: wan-infer watch " + id +
                                   " --server " + server.url()))
      << stopped.err;
  EXPECT_TRUE(has(stopped.err, "wan-infer cancel " + id)) << stopped.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST_F(ProgramRemote, CancelAndLogs) {
  const std::string id =
      server.add_job({.states = {running(1, {log_entry("one"), log_entry("e\x1b[31m", "ERROR")}), kDone}});
  const Outcome logs = run({"logs", id});
  EXPECT_EQ(logs.code, 0) << logs.err;
  EXPECT_EQ(logs.out, "2026-11-20T22:25:27.779Z  INFO  one\n2026-11-20T22:25:27.779Z  ERROR  e\\x1B[31m\n");
  const std::string other =
      server.add_job({.states = {running(1, {log_entry("one")}), running(2, {log_entry("two")}), kDone}});
  const Outcome followed = run({"logs", other, "--follow", "--log-format", "json"});
  EXPECT_EQ(followed.code, 0) << followed.err;
  EXPECT_EQ(std::count(followed.out.begin(), followed.out.end(), '\n'), 2) << followed.out;
  EXPECT_EQ(run({"cancel", id}).code, 0);
  EXPECT_EQ(server.cancelled(), std::vector<std::string>{id});
  server.instead = [](WebClient& client) {
    return RemoteServer::answer(client, "400 Bad Request", {{"status", "ALREADY_COMPLETED"}}), true;
  };
  const Outcome ended = run({"cancel", id});
  EXPECT_EQ(ended.code, 2);
  EXPECT_TRUE(has(ended.err, "[ID] has ended already")) << ended.err;
}

// The libraries of libcurl take longer to load than wan-infer takes to answer.
TEST_F(ProgramRemote, TheFrontProgramHasNoLibcurl) {
  EXPECT_FALSE(has(content(WAN_BINARY_DIR "/tools/wan-infer"), "libcurl"));
  const std::string remote = content(WAN_BINARY_DIR "/tools/wan-remote");
  EXPECT_TRUE(has(remote, "libcurl"));
  EXPECT_FALSE(has(remote, "libtorch") || has(remote, "libc10"));
}

const char* const kThree =
    "{\"task\": \"t2v\", \"prompt\": \"one\", \"out\": \"a.mp4\", \"seed\": 1}\n"
    "{\"task\": \"t2v\", \"prompt\": \"two\", \"out\": \"b.mp4\", \"seed\": 2}\n"
    "{\"task\": \"i2v\", \"prompt\": \"three\", \"out\": \"c.mp4\", \"image_url\": \"p.png\"}\n";

TEST_F(ProgramRemoteBatch, SendsEveryLineOnce) {
  std::filesystem::copy_file(kPicture, folder / "p.png");
  write_manifest(kThree);
  server.script = [](int number, const json&) {
    Script made{.states = {running(1), kDone}, .video = "video " + std::to_string(number)};
    if (number == 2) made.states = {failed("internal_error", "it broke")};
    return made;
  };
  const Outcome first = run({"batch", "list.jsonl"});
  EXPECT_EQ(first.code, 1) << first.err;
  EXPECT_EQ(server.bodies().size(), 3u);
  EXPECT_EQ(server.bodies()[0], (json{{"prompt", "one"}, {"seed", 1}}));
  EXPECT_TRUE(server.bodies()[2].at("seed").is_number_integer()) << "drawn, so that the same command asks the same";
  EXPECT_EQ(server.endpoints()[2], "fal-ai/wan/v2.2-a14b/image-to-video");
  EXPECT_EQ(file("a.mp4"), "video 1");
  EXPECT_EQ(file("c.mp4"), "video 3");
  EXPECT_TRUE(has(first.out, "     1  done          2.5  a.mp4\n")) << first.out;
  EXPECT_TRUE(has(first.out, "it broke; --resend sends it again")) << first.out;
  EXPECT_TRUE(has(first.out, "3 jobs: 2 done, 1 failed\n")) << first.out;
  EXPECT_EQ(json::parse(file("list.jsonl.work/report.json")).at("failed"), 1);

  std::filesystem::remove(folder / "c.mp4");
  const Outcome again = run({"batch", "list.jsonl"});
  EXPECT_EQ(again.code, 1) << again.err;
  EXPECT_EQ(server.bodies().size(), 3u) << "nothing is sent twice";
  EXPECT_TRUE(has(again.out, "3 jobs: 1 done, 1 kept, 1 failed\n")) << again.out;
  EXPECT_EQ(file("c.mp4"), "video 3") << "brought once more";

  server.script = [](int, const json&) { return Script(); };
  const Outcome resent = run({"batch", "list.jsonl", "--resend"});
  EXPECT_EQ(resent.code, 0) << resent.out << resent.err;
  EXPECT_EQ(server.bodies().size(), 4u);
  EXPECT_EQ(server.bodies()[3].at("prompt"), "two");
  EXPECT_EQ(file("b.mp4"), "a video");
}

TEST_F(ProgramRemoteBatch, AJobThatFailedWithABusyStatusHoldsUpNoOther) {
  std::filesystem::copy_file(kPicture, folder / "p.png");
  write_manifest(kThree);
  server.script = [](int number, const json&) {
    Script made{.states = {running(1), kDone}};
    if (number < 3) {
      made.states = {failed("runner_disconnected", "the process ended twice")};
      made.result_status = number == 1 ? "503 Service Unavailable" : "504 Gateway Timeout";
      made.result = {{"detail", "the process ended twice"}};
    }
    return made;
  };
  const Outcome made = run({"batch", "list.jsonl"});
  EXPECT_EQ(made.code, 1) << made.err;
  EXPECT_TRUE(has(made.out, "failed: the process ended twice; --resend sends it again")) << made.out;
  EXPECT_TRUE(has(made.out, "3 jobs: 1 done, 2 failed\n")) << made.out;
  EXPECT_EQ(file("c.mp4"), "a video");
}

TEST_F(ProgramRemoteBatch, GoesOnAfterKill) {
  write_manifest(std::string(kThree, strchr(kThree, '\n') + 1));
  server.script = [](int, const json&) { return Script{.states = {running(1)}}; };
  {
    Process process("wan-infer", with_server({"batch", "list.jsonl"}), folder.path());
    ASSERT_TRUE(process.wait_for("denoise 1/3"));
    process.signal(SIGKILL);
    EXPECT_EQ(process.finish().code, 137);
  }
  Process process("wan-infer", with_server({"batch", "list.jsonl"}), folder.path());
  ASSERT_TRUE(process.wait_for("denoise 1/3"));
  process.signal(SIGINT);
  const Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 130);
  EXPECT_TRUE(has(stopped.out, "1 jobs: 1 left\n")) << stopped.out;
  EXPECT_TRUE(has(stopped.err, "what was sent goes on at the server")) << stopped.err;
  EXPECT_EQ(server.bodies().size(), 1u);
  const RemoteServer other;
  const Outcome refused =
      Process("wan-infer", {"batch", "list.jsonl", "--server", other.url()}, folder.path()).finish();
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_TRUE(has(refused.err, "[--server] must be the one that has jobs of this batch")) << refused.err;
}

// Killed between sending a line and hearing of it: the server may have it, so it is not sent again unasked.
TEST_F(ProgramRemoteBatch, DoesNotGuessWhatBecameOfALine) {
  write_manifest(std::string(kThree, strchr(kThree, '\n') + 1));
  server.instead = [](WebClient& client) {
    if (client.method != "POST") return false;
    client.read_body();
    client.wait(60'000);
    return true;
  };
  {
    Process process("wan-infer", with_server({"batch", "list.jsonl"}), folder.path());
    for (int i = 0; i < 3000 && server.requests() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_EQ(server.requests(), 1);
    process.signal(SIGKILL);
    process.finish();
  }
  server.instead = {};
  const Outcome unsure = run({"batch", "list.jsonl"});
  EXPECT_EQ(unsure.code, 1);
  EXPECT_TRUE(has(unsure.out, "the server may have it; --resend sends it again")) << unsure.out;
  EXPECT_EQ(server.bodies().size(), 0u);
  EXPECT_EQ(run({"batch", "list.jsonl", "--resend"}).code, 0);
  EXPECT_EQ(server.bodies().size(), 1u);
  EXPECT_EQ(file("a.mp4"), "a video");
}

// Another key sees other jobs: nothing is lost by asking with the wrong one.
TEST_F(ProgramRemoteBatch, AJobThatIsNotThereIsSentAgainOnlyWhenAsked) {
  write_manifest(std::string(kThree, strchr(kThree, '\n') + 1));
  ASSERT_EQ(run({"batch", "list.jsonl"}).code, 0);
  std::filesystem::remove(folder / "a.mp4");
  const auto deny = [](WebClient& client) {
    if (client.method != "GET" || !client.path.starts_with("/queue/fal-ai/wan/requests/0000-1/")) return false;
    return RemoteServer::answer(client, "404 Not Found", {{"detail", "Request not found"}}), true;
  };
  server.instead = deny;
  const Outcome lost = run({"batch", "list.jsonl"});
  EXPECT_EQ(lost.code, 1);
  EXPECT_TRUE(has(lost.out, "[ID] must be of a job that this server has for this key")) << lost.out;
  server.instead = {};
  ASSERT_EQ(run({"batch", "list.jsonl"}).code, 0);
  EXPECT_EQ(server.bodies().size(), 1u);
  std::filesystem::remove(folder / "a.mp4");
  server.instead = deny;
  const Outcome resent = run({"batch", "list.jsonl", "--resend"});
  EXPECT_EQ(resent.code, 0) << resent.out << resent.err;
  EXPECT_EQ(server.bodies().size(), 2u);
  EXPECT_EQ(file("a.mp4"), "a video");
}

TEST_F(ProgramRemoteBatch, WaitsWhereTheServerIsFull) {
  write_manifest(kThree);
  std::filesystem::copy_file(kPicture, folder / "p.png");
  std::atomic<int> refused = 0;
  server.instead = [&](WebClient& client) {
    if (client.method != "POST" || !client.path.starts_with("/queue/") || server.bodies().size() != 1 || refused++ > 1)
      return false;
    client.read_body();
    client.answer("429 Too Many Requests", "Retry-After: 0\r\nContent-Type: application/json\r\n",
                  R"({"detail": "full"})");
    return true;
  };
  const Outcome made = run({"batch", "list.jsonl"});
  EXPECT_EQ(made.code, 0) << made.out << made.err;
  EXPECT_EQ(server.bodies().size(), 3u);
  EXPECT_TRUE(has(made.err, "waits line=2")) << made.err;
}

TEST_F(ProgramRemoteBatch, FieldsOfLocalRunsAreRefusedByLine) {
  write_manifest(
      "{\"task\": \"t2v\", \"prompt\": \"\", \"device\": \"cpu\", \"out\": \"a.mp4\"}\n"
      "{\"task\": \"t2v\", \"prompt\": \"\", \"num_frames\": 5, \"acceleration\": \"regular\", \"out\": \"b.mp4\"}\n");
  const Outcome refused = run({"batch", "list.jsonl"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err,
            "wan-infer: [line 1, device] is for local runs: whoever runs the server decides it; leave it out\n"
            "wan-infer: [line 2, num_frames] must be from 17 to 121, got 5\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "list.jsonl.work"));
  EXPECT_EQ(server.requests(), 0);
}

TEST_F(ProgramRemoteBatch, TheServerOfTheEnvironmentAloneSendsNone) {
  write_manifest(std::string(kThree, strchr(kThree, '\n') + 1));
  const auto told = [&] { return Process("wan-infer", {"batch", "list.jsonl"}, folder.path()).finish().err; };
  EXPECT_FALSE(has(told(), "[--server]"));
  setenv("WAN_SERVER", server.url().c_str(), 1);
  const std::string err = told();
  unsetenv("WAN_SERVER");
  EXPECT_TRUE(has(err, "[--server] is absent, so the batch is rendered here")) << err;
  EXPECT_EQ(server.requests(), 0);
}

TEST_F(ProgramRemoteBatch, ReplacesNoFileOfOthers) {
  std::ofstream(folder / "a.mp4") << "mine";
  write_manifest(std::string(kThree, strchr(kThree, '\n') + 1));
  const Outcome refused = run({"batch", "list.jsonl"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(has(refused.out, "'a.mp4' is another request's, or does not say whose; --overwrite replaces it"))
      << refused.out;
  EXPECT_EQ(server.bodies().size(), 0u);
  EXPECT_EQ(file("a.mp4"), "mine");
  EXPECT_EQ(run({"batch", "list.jsonl", "--overwrite"}).code, 0);
  EXPECT_EQ(file("a.mp4"), "a video");
}

}  // namespace
}  // namespace wan
