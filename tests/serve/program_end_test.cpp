// How a running wan-serve says that it takes no jobs, and how it ends.
#include <gtest/gtest.h>

#include <thread>

#include "tests/serve/serve_process.h"

namespace wan::serve {
namespace {

using nlohmann::json;

const std::string kRun = "/fal-ai/wan/v2.2-a14b/text-to-video", kQueue = "/queue" + kRun,
                  kRequests = "/queue/fal-ai/wan/requests/";

std::string submit(const ServeProcess& server, const std::string& prompt) {
  const Reply reply = server.call("POST", kQueue, "", json{{"prompt", prompt}, {"num_frames", 17}}.dump());
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.json().value("request_id", "");
}

std::function<bool()> starting_as(const char* how) {
  return [how] { return setenv("WAN_FAKE_START", how, 1) == 0; };
}

/// The reason of /ready, of which there is to be one; asked until it holds `part`.
std::string reason(const ServeProcess& server, const std::string& part, const std::string& headers = "") {
  Reply reply;
  for (int i = 0; i < 600; ++i) {
    reply = server.call("GET", "/ready", headers);
    const json so_far = reply.json();
    if (reply.body.find(part) != reply.body.npos && so_far.is_object() && so_far.value("reasons", json()).size() == 1)
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const json answer = reply.json();
  EXPECT_EQ(reply.status, 503) << reply.body;
  EXPECT_NE(reply.head.find("Retry-After: "), std::string::npos) << reply.head;
  if (!answer.is_object() || answer.value("status", "") != "not ready" || answer["reasons"].size() != 1) {
    ADD_FAILURE() << reply.body;
    return "";
  }
  return answer["reasons"][0];
}

TEST(ServeProgram, SaysWhyItIsNotReady) {
  const ServeFolder folder;
  {
    ServeProcess server(folder, folder.flags(), starting_as("never_ready"));
    ASSERT_TRUE(server.listens()) << server.err();
    EXPECT_EQ(reason(server, "cpu"), "the worker of cpu is starting");
    EXPECT_EQ(server.call("GET", "/health").status, 200) << "it answers all the same";
  }
  {
    ServeProcess server(folder, folder.flags(), starting_as("die_idle"));
    ASSERT_TRUE(server.listens()) << server.err();
    const std::string why = reason(server, "about to be started again");
    EXPECT_NE(why.find("signal 9"), std::string::npos) << why;
  }
  {
    ServeProcess server(folder, folder.flags({"--least-free", "4000TB"}));
    ASSERT_TRUE(server.listens()) << server.err();
    ASSERT_TRUE(server.said("\\[disk\\] the disk has")) << server.err();
    EXPECT_TRUE(reason(server, "no job is begun").starts_with("no job is begun: the disk has ")) << server.err();
  }
}

TEST(ServeProgram, TellsTheLastWordsOfAWorkerToItsOperatorAlone) {
  const ServeFolder folder;
  ServeProcess add(folder, {"key", "add", "anna", "--keys", folder / "keys.json"});
  ASSERT_EQ(add.finish(), 0) << add.err();
  const std::string key = "Authorization: Key " + add.out().substr(0, add.out().find('\n')) + "\r\n";
  const std::string elsewhere = "X-Forwarded-For: 192.0.2.7\r\n";
  ServeProcess server(folder, folder.flags({"--keys", folder / "keys.json"}), starting_as("exit3"));
  ASSERT_TRUE(server.listens()) << server.err();
  const std::string here = reason(server, "does not work");
  EXPECT_NE(here.find("exit status 3"), std::string::npos) << here;
  EXPECT_NE(here.find("[device] must be there"), std::string::npos) << here;
  EXPECT_EQ(reason(server, "does not work", elsewhere), "the worker of cpu does not work");
  EXPECT_EQ(reason(server, "does not work", elsewhere + key), here);
}

TEST(ServeProgram, ASecondSignalEndsItAtOnceAndLosesNoJob) {
  const ServeFolder folder;
  std::string id;
  {
    ServeProcess server(folder, folder.flags());
    ASSERT_TRUE(server.listens()) << server.err();
    id = submit(server, "behave:hang_once");
    ASSERT_TRUE(server.until(kRequests + id + "/status", 202));
    for (int i = 0;
         i < 1200 && server.call("GET", kRequests + id + "/status").body.find("IN_PROGRESS") == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.signal(SIGTERM);
    ASSERT_TRUE(server.said("\\[stop\\] SIGTERM")) << server.err();
    const auto begin = std::chrono::steady_clock::now();
    server.signal(SIGTERM);
    EXPECT_EQ(server.finish(), 128 + SIGTERM);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  }
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  EXPECT_TRUE(server.until(kRequests + id, 200)) << server.err();
}

TEST(ServeProgram, ASyncRunIsToldOfTheEndAndNotRenderedForNobody) {
  const ServeFolder folder;
  std::string id;
  {
    ServeProcess server(folder, folder.flags());
    ASSERT_TRUE(server.listens()) << server.err();
    Reply reply;
    {
      const std::jthread client([&] { reply = server.call("POST", kRun, "", R"({"prompt": "behave:slow"})"); });
      for (int i = 0; i < 1200 && id.empty(); ++i) {
        const json jobs = server.call("GET", "/page/jobs").json();
        if (jobs.is_object() && !jobs["jobs"].empty() && jobs["jobs"][0].value("status", "") == "running")
          id = jobs["jobs"][0]["id"];
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
      server.signal(SIGTERM);
    }
    EXPECT_EQ(reply.status, 503) << reply.head << reply.body;
    EXPECT_EQ(reply.json().value("error_type", ""), "runner_disconnected") << reply.body;
    EXPECT_EQ(server.finish(), 0) << server.err();
  }
  ASSERT_FALSE(id.empty());
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const Reply result = server.call("GET", kRequests + id);
  EXPECT_EQ(result.status, 400) << result.body;
  EXPECT_EQ(result.json().value("error_type", ""), "client_cancelled") << result.body;
}

}  // namespace
}  // namespace wan::serve
