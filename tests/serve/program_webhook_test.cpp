// What the targets of webhooks get from a running wan-serve.
#include <gtest/gtest.h>

#include <mutex>

#include "tests/serve/serve_process.h"
#include "tests/support/web_server.h"

namespace wan::serve {
namespace {

using nlohmann::json;

const std::string kQueue = "/queue/fal-ai/wan/v2.2-a14b/text-to-video", kRequests = "/queue/fal-ai/wan/requests/";

/// A target that keeps what it is sent; the first `refusals` messages are answered 500.
class Target {
 public:
  explicit Target(int refusals = 0)
      : refusals_(refusals), server_([this](WebClient& client) {
          const std::string body = client.read_body();
          const std::lock_guard lock(mutex_);
          client.answer(refusals_-- > 0 ? "500 Error" : "200 OK", "", "");
          bodies_.push_back(json::parse(body, nullptr, false));
          lines_.push_back(client.method + " " + client.path + "\n" + client.headers);
        }) {}
  std::string url(const std::string& path) const { return server_.url(path); }
  /// The messages, once there are so many, or a minute has passed.
  std::vector<json> bodies(size_t count) const {
    for (int i = 0; i < 6000; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (bodies_.size() >= count) return bodies_;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
  }
  std::string lines(size_t message) const {
    const std::lock_guard lock(mutex_);
    return lines_.at(message);
  }

 private:
  mutable std::mutex mutex_;
  int refusals_;
  std::vector<json> bodies_;
  std::vector<std::string> lines_;
  WebServer server_;
};

std::string submit(const ServeProcess& server, const std::string& prompt, const std::string& hook) {
  const Reply reply = server.call("POST", kQueue + "?fal_webhook=" + hook, "Content-Type: application/json\r\n",
                                  json{{"prompt", prompt}, {"num_frames", 17}, {"seed", 5}}.dump());
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.json().value("request_id", "");
}

TEST(ServeProgram, TellsWebhooksOfFalWithTheUrlsOfTheirClient) {
  const ServeFolder folder;
  const Target target;
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const std::string id = submit(server, "a cat", target.url("/told"));
  const std::vector<json> first = target.bodies(1);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_TRUE(target.lines(0).starts_with("POST /told\n")) << target.lines(0);
  EXPECT_NE(target.lines(0).find("content-type: application/json"), std::string::npos) << target.lines(0);
  const json& done = first[0];
  EXPECT_EQ(done.at("request_id"), id);
  EXPECT_EQ(done.at("gateway_request_id"), id);
  EXPECT_EQ(done.at("status"), "OK");
  EXPECT_TRUE(done.at("error").is_null());
  EXPECT_EQ(done.at("payload"), server.call("GET", kRequests + id).json());
  EXPECT_EQ(done.at("payload").at("video").at("url").get<std::string>().find("http://localhost/files/outputs/"), 0u)
      << "the name by which the client called: " << done.dump();

  const std::string failed = submit(server, "behave:machine", target.url("/told"));
  ASSERT_TRUE(server.until(kRequests + failed + "/status", 200));
  const std::vector<json> second = target.bodies(2);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[1].at("request_id"), failed);
  EXPECT_EQ(second[1].at("status"), "ERROR");
  // Where it failed is for the server's log.
  const std::string words = "The server failed at this job; its log says why";
  EXPECT_EQ(second[1].at("error"), words);
  EXPECT_EQ(second[1].at("payload"), (json{{"detail", words}}));
}

TEST(ServeProgram, TellsWebhooksOfWaveSpeedTheTask) {
  const ServeFolder folder;
  const Target target;
  ServeProcess server(folder, folder.flags({"--model", "s2v=" + folder / "model"}));
  ASSERT_TRUE(server.listens()) << server.err();
  const std::string data = "data:image/png;base64,AAAA";
  const Reply reply = server.call("POST", "/api/v3/wavespeed-ai/wan-2.2/speech-to-video?webhook=" + target.url("/hook"),
                                  "Content-Type: application/json\r\n", json{{"image", data}, {"audio", data}}.dump());
  ASSERT_EQ(reply.status, 200) << reply.body;
  const std::string id = reply.json().at("data").at("id");
  const std::vector<json> told = target.bodies(1);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].at("status"), "completed");
  EXPECT_EQ(told[0], server.call("GET", "/api/v3/predictions/" + id + "/result").json().at("data"))
      << "the task itself, without the envelope of an answer";
}

TEST(ServeProgram, TriesAWebhookAgainThatFailed) {
  const ServeFolder folder;
  const Target target(/*refusals=*/1);
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const std::string id = submit(server, "a cat", target.url("/told?token=secret"));
  const std::vector<json> told = target.bodies(2);  // 10 s later
  ASSERT_EQ(told.size(), 2u) << server.err();
  EXPECT_EQ(told[0], told[1]);
  EXPECT_NE(server.err().find("it is tried again"), std::string::npos) << server.err();
  EXPECT_EQ(server.err().find("secret"), std::string::npos) << "what a URL hides is not in the log";
}

}  // namespace
}  // namespace wan::serve
