// Heads of requests: what is taken, what is refused, and how the connection goes on.
#include <gtest/gtest.h>

#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

/// Says what it was asked.
Awaitable<Answer> told(Exchange& exchange) {
  std::string text = exchange.method() + " " + exchange.path();
  for (const auto& [name, value] : exchange.query()) text.append(" ").append(name).append("=").append(value);
  if (exchange.method() == "POST") {
    const std::string body = co_await exchange.read_body(1 << 20);
    text.append(" body=").append(body);
  }
  co_return text_answer(text);
}

TEST(NetRequests, AnswersManyOnOneConnection) {
  TestServer server(told);
  Client client(server.port);
  for (int i = 0; i < 300; ++i) {
    const Received answer = client.ask(get("/a%20b?n=" + std::to_string(i)));
    ASSERT_EQ(answer.status, 200);
    ASSERT_EQ(answer.body, "GET /a b n=" + std::to_string(i));
    ASSERT_EQ(answer.header("Connection"), "");
  }
  EXPECT_EQ(server.connections(), 1u);
}

TEST(NetRequests, AnswersPipelinedOnesInOrder) {
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> {
    if (exchange.path() == "/slow") co_await pause(std::chrono::milliseconds(30));
    std::string body = co_await exchange.read_body(1 << 20);
    co_return text_answer(exchange.path() + body);
  });
  Client client(server.port);
  std::string all;
  for (int i = 0; i < 20; ++i) {
    all += get("/slow") + post("/p" + std::to_string(i), std::string(static_cast<size_t>(i) * 777, 'x'));
    all +=
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: "
        "v\r\n\r\n\r\n";
  }
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(client.receive().body, "/slow");
    ASSERT_EQ(client.receive().body, "/p" + std::to_string(i) + std::string(static_cast<size_t>(i) * 777, 'x'));
    ASSERT_EQ(client.receive().body, "/cabcde");
  }
}

TEST(NetRequests, TakesAHeadByteByByte) {
  TestServer server(told);
  Client client(server.port);
  for (char c : post("/a", "body", "X-Long: " + std::string(300, 'y') + "\r\n")) {
    ASSERT_TRUE(client.send(std::string_view(&c, 1)));
  }
  EXPECT_EQ(client.receive().body, "POST /a body=body");
}

TEST(NetRequests, KnowsWhoAsks) {
  std::string seen;
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    std::string text = exchange.base_url() + " " + exchange.peer() + (exchange.peer_is_loopback() ? " loopback" : "");
    text += exchange.is_tls() ? " tls" : " plain";
    text += " " + std::string(exchange.header("x-WORD").value_or("none"));
    text += exchange.content_length() ? " " + std::to_string(*exchange.content_length()) : " chunked";
    for (const std::string& segment : exchange.segments()) text += " [" + segment + "]";
    co_return text_answer(text);
  });
  Client client(server.port);
  EXPECT_EQ(client.ask("GET /a%2Fb/c/ HTTP/1.1\r\nHost: my.host:81\r\nX-Word: \t  one two \t\r\n\r\n").body,
            "http://my.host:81 127.0.0.1 loopback plain one two 0 [a/b] [c]");
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: [::1]:81\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").body,
            "http://[::1]:81 127.0.0.1 loopback plain none chunked");
  Client old(server.port);
  EXPECT_EQ(old.ask("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc").body,
            "http://127.0.0.1:" + std::to_string(server.port) + " 127.0.0.1 loopback plain none 3");
}

TEST(NetRequests, UsesThePublicUrlWhereOneIsSet) {
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> { co_return text_answer(exchange.base_url()); },
                    {.public_url = "https://public.example"});
  EXPECT_EQ(Client(server.port).ask(get("/")).body, "https://public.example");
}

TEST(NetRequests, ServesIPv4ClientsOfASocketForBoth) {
  TestServer server(
      [](Exchange& exchange) -> Awaitable<Answer> {
        co_return text_answer(exchange.peer() + (exchange.peer_is_loopback() ? " loopback" : ""));
      },
      {.address = "::"});
  EXPECT_EQ(Client(server.port).ask(get("/")).body, "127.0.0.1 loopback");
}

TEST(NetRequests, EndsTheConnectionWhereTheClientWantsIt) {
  TestServer server(told);
  Client client(server.port);
  const Received answer = client.ask(get("/", "Connection: close\r\n"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(client.ends());
}

TEST(NetRequests, SpeaksHttp10) {
  TestServer server(told);
  Client once(server.port);
  const Received answer = once.ask("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(answer.body, "GET /a");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(once.ends());
  Client twice(server.port);
  EXPECT_EQ(twice.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("Connection"), "keep-alive");
  EXPECT_EQ(twice.ask("GET /b HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").body, "GET /b");
}

TEST(NetRequests, PassesUnknownMethodsOn) {
  TestServer server(told);
  EXPECT_EQ(Client(server.port).ask("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n").body, "BREW /pot");
}

struct Refused {
  const char* name;
  std::string request;
  int status;
  std::string says;  // a part of detail
};
void PrintTo(const Refused& refused, std::ostream* out) {
  *out << refused.name;
}

class NetRefusal : public ::testing::TestWithParam<Refused> {};

/// In JSON, with the connection ended: where two readers may understand a request in different ways, nothing behind it counts.
TEST_P(NetRefusal, IsAnsweredAndEndsTheConnection) {
  bool reached = false;
  TestServer server([&](Exchange&) -> Awaitable<Answer> {
    reached = true;
    co_return text_answer("taken");
  });
  Client client(server.port);
  const Received answer = client.ask(GetParam().request);
  EXPECT_EQ(answer.status, GetParam().status);
  EXPECT_EQ(answer.header("Content-Type"), "application/json");
  EXPECT_EQ(answer.header("X-Fal-Error-Type"), "bad_request");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(answer.whole);
  ASSERT_TRUE(answer.json().is_object()) << answer.body;
  EXPECT_NE(answer.json()["detail"].get<std::string>().find(GetParam().says), std::string::npos) << answer.body;
  EXPECT_EQ(answer.json()["error_type"], "bad_request");
  EXPECT_TRUE(client.ends());
  EXPECT_EQ(client.left(), "");
  EXPECT_FALSE(server.call([&] { return reached; }));
}

std::string head(const std::string& fields) {
  return "POST /a HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
const std::string kNext = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

INSTANTIATE_TEST_SUITE_P(
    Lines, NetRefusal,
    ::testing::Values(Refused{"words", "what is this\r\n\r\n", 400, "HTTP"},
                      Refused{"tls", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400, "HTTP"},
                      Refused{"no_version", "GET /\r\n\r\n", 400, "HTTP"},
                      Refused{"http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP"},
                      Refused{"http09", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, "HTTP"},
                      Refused{"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP"},
                      Refused{"two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP"},
                      Refused{"zero_byte", std::string("GET /\0 HTTP/1.1\r\n\r\n", 19), 400, "HTTP"},
                      Refused{"space_before_colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "HTTP"},
                      Refused{"no_colon", "GET / HTTP/1.1\r\nHost a\r\n\r\n", 400, "HTTP"},
                      Refused{"bare_return", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "HTTP"},
                      Refused{"no_host", "GET / HTTP/1.1\r\n\r\n", 400, "[Host]"},
                      Refused{"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "[Host]"},
                      Refused{"host_list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "[Host]"},
                      Refused{"host_with_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "[Host]"},
                      Refused{"host_with_user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "[Host]"},
                      Refused{"expects_more", head("Expect: wonders\r\nContent-Length: 1\r\n"), 417, "[Expect]"}),
    ::testing::PrintToStringParamName());

// Request smuggling: forms that a server before this one may read in another way.
INSTANTIATE_TEST_SUITE_P(
    Lengths, NetRefusal,
    ::testing::Values(
        Refused{"word", head("Content-Length: abc\r\n"), 400, "HTTP"},
        Refused{"negative", head("Content-Length: -1\r\n"), 400, "HTTP"},
        Refused{"plus", head("Content-Length: +5\r\n") + "12345", 400, "HTTP"},
        Refused{"hexadecimal", head("Content-Length: 0x5\r\n") + "12345", 400, "HTTP"},
        Refused{"empty", head("Content-Length: \r\n"), 400, "HTTP"},
        Refused{"beyond_64_bit", head("Content-Length: 18446744073709551621\r\n"), 400, "HTTP"},
        Refused{"two_different", head("Content-Length: 5\r\nContent-Length: 6\r\n") + "12345", 400, "HTTP"},
        Refused{"two_equal", head("Content-Length: 5\r\nContent-Length: 5\r\n") + "12345", 400, "[Content-Length]"},
        Refused{"list_different", head("Content-Length: 5, 6\r\n") + "12345", 400, "HTTP"},
        Refused{"list_equal", head("Content-Length: 5, 5\r\n") + "12345", 400, "[Content-Length]"},
        Refused{"length_then_chunked",
                head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + kNext, 400, "HTTP"},
        Refused{"chunked_then_length",
                head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n" + kNext, 400, "HTTP"},
        Refused{"length_and_identity", head("Transfer-Encoding: identity\r\nContent-Length: 5\r\n") + "12345", 400,
                "[Content-Length]"},
        Refused{"identity", head("Transfer-Encoding: identity\r\n") + kNext, 400, "[Transfer-Encoding]"},
        Refused{"unknown_coding", head("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n" + kNext, 400,
                "[Transfer-Encoding]"},
        Refused{"gzip_chunked", head("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", 400, "[Transfer-Encoding]"},
        Refused{"chunked_gzip", head("Transfer-Encoding: chunked, gzip\r\n") + "0\r\n\r\n", 400, "[Transfer-Encoding]"},
        Refused{"two_codings", head("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400,
                "[Transfer-Encoding]"},
        Refused{"chunked_twice", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
                400, "HTTP"},
        Refused{"quoted", head("Transfer-Encoding: \"chunked\"\r\n") + "0\r\n\r\n", 400, "[Transfer-Encoding]"},
        Refused{"vertical_tab",
                head("Transfer-Encoding: \x0b"
                     "chunked\r\n") +
                    "0\r\n\r\n",
                400, ""},
        Refused{"http10_chunked", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                "[Transfer-Encoding]"}),
    ::testing::PrintToStringParamName());

INSTANTIATE_TEST_SUITE_P(
    Paths, NetRefusal,
    ::testing::Values(Refused{"dots", "GET /a/../b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400, "[path]"},
                      Refused{"escaped_dots", "GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400,
                              "[path]"}),
    ::testing::PrintToStringParamName());

TEST(NetRequests, RefusesAWrongPathAloneAndGoesOn) {
  TestServer server(told);
  Client client(server.port);
  EXPECT_EQ(client.ask(get("/%2e%2e/etc/passwd")).status, 400);
  EXPECT_EQ(client.ask(get("/a%00")).status, 400);
  EXPECT_EQ(client.ask(get("http://other/a?b=c")).body, "GET /a b=c");
}

TEST(NetRequests, RefusesTheNextOneWhereALengthWasTooSmall) {
  TestServer server(told);
  Client client(server.port);
  ASSERT_TRUE(client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc and more of it\r\n\r\n"));
  EXPECT_EQ(client.receive().body, "POST /a body=abc");
  EXPECT_EQ(client.receive().status, 400);
  EXPECT_TRUE(client.ends());
}

TEST(NetRequests, RefusesLargeHeads) {
  TestServer server(told, {.most_header_bytes = 8192});
  for (const std::string& request :
       {get("/", "X: " + std::string(9000, 'x') + "\r\n"), get("/" + std::string(9000, 'x')),
        "GET / HTTP/1.1\r\nX: " + std::string(100000, 'x')}) {
    Client client(server.port);
    const Received answer = client.ask(request);
    EXPECT_EQ(answer.status, 431);
    EXPECT_TRUE(answer.json()["detail"].is_string());
    EXPECT_TRUE(client.ends());
  }
  Client fits(server.port);
  EXPECT_EQ(fits.ask(get("/a", "X: " + std::string(8000, 'x') + "\r\n")).body, "GET /a");
}

/// The parser counts what it is given at a time; the sum has to be limited, too.
TEST(NetRequests, RefusesLargeHeadsThatComeInSmallPieces) {
  TestServer server(told, {.most_header_bytes = 8192});
  Client client(server.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n");
  for (int i = 0; i < 20; ++i) {
    client.send("X-" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(client.receive().status, 431);
}

TEST(NetRequests, AnswersAHeadThatDoesNotEndInTime) {
  TestServer server(told, {.header_time = std::chrono::seconds(1)});
  Client client(server.port);
  const Received answer = client.ask("GET / HTTP/1.1\r\nHos");
  EXPECT_EQ(answer.status, 408);
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(answer.json()["detail"].is_string());
  EXPECT_TRUE(client.ends());
}

/// The time counts from the first byte, so a byte now and then does not help.
TEST(NetRequests, AnswersAHeadThatTrickles) {
  TestServer server(told, {.header_time = std::chrono::seconds(1)});
  Client client(server.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
  std::thread trickle([&] {
    for (int i = 0; i < 600 && client.send("x"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  EXPECT_EQ(client.receive().status, 408);
  shutdown(client.descriptor(), SHUT_RDWR);
  trickle.join();
}

TEST(NetRequests, EndsIdleConnectionsSilently) {
  TestServer server(told, {.idle_time = std::chrono::seconds(1)});
  Client never(server.port), once(server.port);
  EXPECT_EQ(once.ask(get("/")).status, 200);
  EXPECT_TRUE(never.ends());
  EXPECT_TRUE(once.ends());
  EXPECT_EQ(never.left() + once.left(), "");
  server.wait_for_connections(0);
}

TEST(NetRequests, SurvivesClientsThatLeave) {
  TestServer server(told);
  for (const std::string& part : {std::string(), std::string("GET / HT"), get("/"), post("/", "abc"),
                                  std::string("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")}) {
    Client closes(server.port), half(server.port), resets(server.port);
    for (Client* client : {&closes, &half, &resets}) client->send(part);
    closes.close();
    half.half_close();
    resets.reset();
    EXPECT_TRUE(half.ends());
  }
  server.wait_for_connections(0);
  EXPECT_EQ(Client(server.port).ask(get("/a")).body, "GET /a");
  EXPECT_TRUE(server.reports().empty());
}

TEST(NetRequests, AnswersAClientThatHasClosedItsSide) {
  TestServer server(told);
  Client client(server.port);
  client.send(get("/a") + post("/b", "xyz"));
  client.half_close();
  EXPECT_EQ(client.receive().body, "GET /a");
  EXPECT_EQ(client.receive().body, "POST /b body=xyz");
  EXPECT_TRUE(client.ends());
}

}  // namespace
}  // namespace wan::serve::testing
