// Questions to servers that answer, and to those that do anything else.
#include "engine/fetch/json_post.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/engine/download_support.h"
#include "tests/support/chat_server.h"

namespace wan {
namespace {

/// Limits that a test waits for; all others are far from being reached, also where the cores are busy.
PostLimits short_limits() {
  return {.whole = 400ms, .connect = 400ms, .most_bytes = 1 << 20};
}

/// What came: "200 BODY", or why nothing did.
std::string post(const std::string& url, const std::string& key = "", Progress* progress = nullptr,
                 const PostLimits& limits = {.whole = 60s}) {
  Silent silent;
  try {
    const PostAnswer answer = post_json({url, key, "{\"a\": 1}"}, limits, progress ? *progress : silent);
    return std::to_string(answer.status) + " " + answer.body;
  } catch (const NoPostAnswer& none) {
    EXPECT_EQ(std::string(none.what()).find("127.0.0.1"), std::string::npos) << "it may stand in a video";
    return none.what();
  }
}

TEST(JsonPost, GivesTheAnswerWhateverItsStatus) {
  const ChatServer good("{}"), bad("no", "500 Internal Server Error"), none("", "200 OK");
  EXPECT_EQ(post(good.url() + "/v1/chat/completions"), "200 {}");
  EXPECT_EQ(good.paths(), std::vector<std::string>{"POST /v1/chat/completions"});
  EXPECT_EQ(good.questions().at(0), (nlohmann::json{{"a", 1}}));
  EXPECT_NE(good.last_headers().find("content-type: application/json"), std::string::npos);
  EXPECT_EQ(good.last_headers().find("authorization"), std::string::npos) << "no key, no header";
  EXPECT_EQ(post(bad.url()), "500 no");
  EXPECT_EQ(post(none.url()), "200 ");
}

TEST(JsonPost, SendsTheKeyToTheNamedServerAlone) {
  const ChatServer elsewhere("{}");
  const ChatServer moved("", "307 Temporary Redirect", "Location: " + elsewhere.url() + "/x\r\n");
  EXPECT_EQ(post(moved.url(), "sk-secret"), "307 ");
  EXPECT_NE(moved.last_headers().find("authorization: bearer sk-secret"), std::string::npos);
  EXPECT_EQ(elsewhere.calls(), 0);
}

TEST(JsonPost, EndsInTimeWhateverComes) {
  const auto hang = [](WebClient& client, const nlohmann::json&) { client.wait(60'000); };
  const auto trickle = [](WebClient& client, const nlohmann::json&) {
    client.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
    while (client.wait(20) && client.send(" ")) {
    }
  };
  const auto slow_headers = [](WebClient& client, const nlohmann::json&) {
    client.send("HTTP/1.1 200 OK\r\n");
    while (client.wait(20) && client.send("x: y\r\n")) {
    }
  };
  for (const ChatServer::Answer& answer :
       {ChatServer::Answer(hang), ChatServer::Answer(trickle), ChatServer::Answer(slow_headers)}) {
    const ChatServer server(answer);
    EXPECT_EQ(post(server.url(), "", nullptr, short_limits()), "it does not answer within 400 ms");
    EXPECT_LE(server.calls(), 1) << "asked once";
  }
}

struct Counted : Silent {
  void check() override { ++asked; }
  int asked = 0;
};

TEST(JsonPost, WaitsNoLongerThanItsLimit) {
  const ChatServer server([](WebClient& client, const nlohmann::json&) { client.wait(60'000); });
  Counted counted;
  EXPECT_EQ(post(server.url(), "", &counted, short_limits()), "it does not answer within 400 ms");
  // Where nothing comes it asks ten times a second, and less often where the cores are busy.
  EXPECT_LT(counted.asked, 15);
}

TEST(JsonPost, ReadsNoMoreThanItsLimit) {
  const ChatServer large(std::string(10 << 20, ' '));
  EXPECT_EQ(post(large.url(), "", nullptr, {.whole = 60s}), "its answer has more than 1 MiB");
  const ChatServer whole(std::string(1 << 20, ' ')), over(std::string((1 << 20) + 1, ' '));
  EXPECT_EQ(post(whole.url()).size(), 4u + (1u << 20)) << "with the status before it";
  EXPECT_EQ(post(over.url()).substr(0, 40), "its answer has more than 1 MiB") << "by one byte";
  const ChatServer endless([](WebClient& client, const nlohmann::json&) {
    client.send("HTTP/1.1 200 OK\r\n\r\n");
    while (client.send(std::string(1 << 16, 'x'))) {
    }
  });
  EXPECT_EQ(post(endless.url(), "", nullptr, {.whole = 60s}), "its answer has more than 1 MiB");
}

TEST(JsonPost, ReadsNoMoreHeadersThanItsLimit) {
  const ChatServer server([](WebClient& client, const nlohmann::json&) {
    client.send("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 40 && client.send("X-Long: " + std::string(10'000, 'x') + "\r\n"); ++i) {
    }
  });
  EXPECT_EQ(post(server.url(), "", nullptr, {.whole = 60s}), "its answer's headers have more than 262144 bytes");
}

TEST(JsonPost, TellsWhyNothingCame) {
  std::string gone;
  {
    const ChatServer server;
    gone = server.url();
  }
  EXPECT_TRUE(post(gone).starts_with("no connection to it (Connection refused)")) << post(gone);
  const ChatServer closes([](WebClient&, const nlohmann::json&) {});
  const ChatServer rubbish([](WebClient& client, const nlohmann::json&) { client.send("\x01\x02 nothing\r\n\r\n"); });
  EXPECT_EQ(post(closes.url()), "the server ended the connection without an answer");
  EXPECT_EQ(post(rubbish.url()), "the answer is not HTTP");
  EXPECT_EQ(post("file:///etc/passwd"), "its address is not a valid URL");
  const ChatServer cut([](WebClient& client, const nlohmann::json&) {
    client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  });
  EXPECT_EQ(post(cut.url()), "the connection ended before its answer was whole");
}

struct Stopped : Silent {
  void check() override {
    if (++asked > 2) throw Cancelled();
  }
  int asked = 0;
};

TEST(JsonPost, AnInterruptEndsItAtOnce) {
  const ChatServer server([](WebClient& client, const nlohmann::json&) { client.wait(60'000); });
  Stopped stopped;
  EXPECT_THROW(post(server.url(), "", &stopped, {.whole = 60s}), Cancelled);
}

}  // namespace
}  // namespace wan
