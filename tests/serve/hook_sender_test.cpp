// Messages to webhooks: what is sent, what counts as taken, and which targets are refused.
#include "engine/serve/api/hook_sender.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <string>

#include "tests/support/web_server.h"

namespace wan::serve {
namespace {

using namespace std::chrono_literals;

/// Sends one message and waits for what comes of it.
std::string send(const std::string& url, HookSender::Options options = {.whole = 10s}) {
  boost::asio::io_context io;
  HookSender sender(io, options);
  const auto guard = boost::asio::make_work_guard(io);
  std::string failure;
  sender.send(url, R"({"a":1})", [&](const std::string& text) {
    failure = text.empty() ? "taken" : text;
    io.stop();
  });
  io.run();
  return failure;
}

WebServer::Handler answers(const std::string& status, const std::string& headers = "", const std::string& body = "") {
  return [=](WebClient& client) { client.answer(status, headers, body); };
}

TEST(HookSender, PostsTheTextAsJson) {
  const WebServer server(answers("200 OK"));
  EXPECT_EQ(send(server.url("/hook?a=b")), "taken");
  const std::string asked = server.last_headers();
  EXPECT_TRUE(asked.starts_with("post /hook?a=b http/1.1\r\n")) << asked;
  for (const char* header : {"content-type: application/json\r\n", "content-length: 7\r\n", "user-agent: wan-infer/"})
    EXPECT_NE(asked.find(header), std::string::npos) << asked;
  EXPECT_EQ(asked.find("expect:"), std::string::npos);
  EXPECT_EQ(server.requests(), 1);
}

TEST(HookSender, EveryAnswerOf2xxHasTakenIt) {
  for (const char* status : {"200 OK", "201 Created", "202 Accepted", "204 No Content"}) {
    const WebServer server(answers(status));
    EXPECT_EQ(send(server.url("/")), "taken") << status;
  }
  const WebServer longer(answers("200 OK", "", std::string(1 << 20, 'x')));
  EXPECT_EQ(send(longer.url("/")), "taken");
  for (const char* status : {"400 Bad Request", "404 Not Found", "410 Gone", "500 Error", "503 Busy"}) {
    const WebServer server(answers(status));
    EXPECT_TRUE(send(server.url("/")).starts_with("it answers " + std::string(status).substr(0, 3))) << status;
  }
}

TEST(HookSender, RedirectsAreNotFollowed) {
  const WebServer other(answers("200 OK"));
  const WebServer server(answers("307 Temporary Redirect", "Location: " + other.url("/") + "\r\n"));
  EXPECT_NE(send(server.url("/")).find("redirects are not followed"), std::string::npos);
  EXPECT_EQ(other.requests(), 0);
}

TEST(HookSender, PrivateAddressesAreNotAskedWhereThatIsForbidden) {
  const WebServer server(answers("200 OK"));
  const HookSender::Options careful = {.private_urls = false, .whole = 10s};
  EXPECT_NE(send(server.url("/"), careful).find("private or local network"), std::string::npos);
  const std::string port = std::to_string(server.port());
  for (const char* host : {"localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"})
    EXPECT_NE(send("http://" + std::string(host) + ":" + port + "/", careful), "taken") << host;
  EXPECT_EQ(server.requests(), 0);
}

TEST(HookSender, OnesThatHangAreGivenUp) {
  const WebServer silent([](WebClient& client) { client.wait(60'000); });
  const WebServer slow([](WebClient& client) {
    client.send("HTTP/1.1 200 OK\r\n");
    while (client.wait(10) && client.send("X-A: b\r\n")) {
    }
  });
  EXPECT_EQ(send(silent.url("/"), {.whole = 200ms}), "it does not answer in time");
  EXPECT_EQ(send(slow.url("/"), {.whole = 200ms}), "it does not answer in time");
}

TEST(HookSender, OthersGoOnBesideOneThatHangs) {
  const WebServer silent([](WebClient& client) { client.wait(60'000); });
  const WebServer server(answers("200 OK"));
  boost::asio::io_context io;
  HookSender sender(io, {.whole = 60s});
  const auto guard = boost::asio::make_work_guard(io);
  bool hung_ended = false;
  int taken = 0;
  for (int i = 0; i < 3; ++i) sender.send(silent.url("/"), "{}", [&](const std::string&) { hung_ended = true; });
  for (int i = 0; i < 5; ++i)
    sender.send(server.url("/"), "{}", [&](const std::string& failure) {
      EXPECT_EQ(failure, "");
      if (++taken == 5) io.stop();
    });
  io.run();
  EXPECT_EQ(taken, 5);
  EXPECT_FALSE(hung_ended);
}

TEST(HookSender, OtherFailuresAreNamed) {
  EXPECT_EQ(send("http://127.0.0.1:1/"), "no connection can be made");
  EXPECT_EQ(send("http://no-such-host.invalid/"), "its host is not known");
  const WebServer broken([](WebClient& client) { client.send("nonsense\r\n\r\n"); });
  EXPECT_NE(send(broken.url("/")), "taken");
  // What is no URL of the web is not tried either.
  for (const char* url : {"file:///etc/passwd", "gopher://127.0.0.1:70/x", "", "http://"})
    EXPECT_NE(send(url), "taken") << url;
}

TEST(Webhook, UrlsAreCheckedBeforeAJobIsTaken) {
  for (const char* url : {"http://127.0.0.1:9/hook", "https://example.com", "HTTPS://name:password@example.com/a?b=c"})
    EXPECT_EQ(wrong_webhook(url), "") << url;
  for (const std::string& url :
       {std::string("ftp://example.com"), std::string("example.com/hook"), std::string("/hook"), std::string(),
        std::string("http://"), std::string("http://a b/"), std::string("http://a/\r\nX: y"),
        std::string("javascript:1"), "http://a/" + std::string(9000, 'x')})
    EXPECT_NE(wrong_webhook(url), "") << url;
  EXPECT_EQ(wrong_webhook("ftp://name:password@host/").find("password"), std::string::npos);
  EXPECT_EQ(webhook_host("https://Example.com/x"), "example.com:443");
  EXPECT_EQ(webhook_host("http://example.com:81/"), "example.com:81");
  EXPECT_EQ(webhook_host("nonsense"), "");
}

}  // namespace
}  // namespace wan::serve
