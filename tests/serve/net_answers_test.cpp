// What answers look like on the connection: heads, files, events, failures.
#include <gtest/gtest.h>

#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

Handler gives(std::function<Answer()> make) {
  return [make](Exchange&) -> Awaitable<Answer> { co_return make(); };
}

std::string head_request(const std::string& path) {
  return "HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

TEST(NetAnswers, HaveTheHeadersOfEveryAnswer) {
  TestServer server(gives([] { return json_answer({{"a", 1}}, 202, {{"X-One", "1"}}); }));
  const Received answer = Client(server.port).ask(get("/"));
  EXPECT_EQ(answer.head.substr(0, answer.head.find('\r')), "HTTP/1.1 202 Accepted");
  EXPECT_EQ(answer.body, R"({"a":1})");
  EXPECT_EQ(answer.header("Content-Type"), "application/json");
  EXPECT_EQ(answer.header("Content-Length"), "7");
  EXPECT_EQ(answer.header("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  EXPECT_EQ(answer.header("X-One"), "1");
  std::tm date{};
  EXPECT_NE(strptime(answer.header("Date").c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date), nullptr);
}

TEST(NetAnswers, KeepTheirOwnHeadersButThoseOfTheConnection) {
  TestServer server(gives([] {
    return Answer{.body = "x",
                  .type = "text/plain",
                  .headers = {{"cache-control", "max-age=5"},
                              {"Content-Length", "99"},
                              {"Connection", "close"},
                              {"Transfer-Encoding", "chunked"},
                              {"Date", "today"}}};
  }));
  Client client(server.port);
  const Received answer = client.ask(get("/"));
  EXPECT_EQ(answer.header("Cache-Control"), "max-age=5");
  EXPECT_EQ(answer.head.find("no-store"), std::string::npos);
  EXPECT_EQ(answer.header("Content-Length"), "1");
  EXPECT_EQ(answer.header("Connection"), "");
  EXPECT_EQ(answer.header("Transfer-Encoding"), "");
  EXPECT_NE(answer.header("Date"), "today");
  EXPECT_EQ(client.ask(get("/")).body, "x");
}

TEST(NetAnswers, ReplaceWhatIsNoUtf8) {
  TestServer server(gives([] { return json_answer({{"a", "x\xff"}}); }));
  EXPECT_EQ(Client(server.port).ask(get("/")).body, "{\"a\":\"x\xef\xbf\xbd\"}");
}

TEST(NetAnswers, OfHeadHaveTheLengthAlone) {
  TestFolder folder;
  std::ofstream(folder.path / "file") << "0123456789";
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    if (exchange.path() == "/file") co_return Answer{.file = FileBody{folder.path / "file", 2, 7}};
    if (exchange.path() == "/events") {
      co_return Answer{.type = "text/event-stream",
                       .events = [](EventStream& stream) -> Awaitable<void> { co_await stream.send("never"); }};
    }
    if (exchange.path() == "/throw") throw std::runtime_error("no");
    co_return text_answer(std::string(100000, 'x'));
  });
  Client client(server.port);
  client.send(head_request("/") + head_request("/file") + head_request("/events") + head_request("/throw") +
              get("/file"));
  EXPECT_EQ(client.receive(true).header("Content-Length"), "100000");
  EXPECT_EQ(client.receive(true).header("Content-Length"), "5");
  EXPECT_EQ(client.receive(true).header("Content-Type"), "text/event-stream");
  EXPECT_EQ(client.receive(true).status, 500);
  EXPECT_EQ(client.receive().body, "23456");
}

TEST(NetAnswers, WithoutABodyHaveNone) {
  int status = 204;
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return Answer{.status = status, .body = "dropped"}; });
  Client client(server.port);
  const Received none = client.ask(get("/"));
  EXPECT_EQ(none.status, 204);
  EXPECT_EQ(none.header("Content-Length"), "");
  EXPECT_EQ(none.header("Content-Type"), "");
  server.call([&] { status = 304; });
  EXPECT_EQ(client.ask(get("/")).status, 304);
  server.call([&] { status = 200; });
  EXPECT_EQ(client.ask(get("/")).body, "dropped");
}

TEST(NetAnswers, OfEverySizeArriveWhole) {
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> {
    co_return text_answer(pattern(std::stoull(exchange.query().at("n"))));
  });
  Client client(server.port);
  for (size_t size : {0, 1, 16383, 16384, 16385, 300000, 8 << 20}) {
    ASSERT_TRUE(client.ask(get("/?n=" + std::to_string(size))).body == pattern(size)) << size;
  }
}

TEST(NetAnswers, MayBeThrown) {
  TestServer server([](Exchange&) -> Awaitable<Answer> {
    throw HttpError({.status = 418, .body = "pot", .type = "text/plain"});
    co_return Answer{};
  });
  const Received answer = Client(server.port).ask(get("/"));
  EXPECT_EQ(answer.status, 418);
  EXPECT_EQ(answer.body, "pot");
  EXPECT_TRUE(server.reports().empty());
}

TEST(NetAnswers, SayNothingOfWhatWentWrongInside) {
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> {
    if (exchange.path() == "/number") throw 5;
    throw std::runtime_error("the secret");
    co_return Answer{};
  });
  Client client(server.port);
  for (const char* path : {"/a", "/number"}) {
    const Received answer = client.ask(get(path));
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(answer.body, R"({"detail":"Internal server error","error_type":"internal_error"})");
    EXPECT_EQ(answer.header("X-Fal-Error-Type"), "internal_error");
    EXPECT_EQ(answer.header("Content-Type"), "application/json");
  }
  ASSERT_EQ(server.reports().size(), 2u);
  EXPECT_EQ(server.reports()[0], "GET /a: the secret");
  EXPECT_EQ(server.reports()[1], "GET /number: what was thrown is no std::exception");
}

TEST(NetAnswers, ThatWouldSplitTheHeadAreRefused) {
  Answer answer;
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return answer; });
  Client client(server.port);
  const std::vector<Answer> wrong = {{.headers = {{"X", "a\r\nSet-Cookie: b"}}},
                                     {.headers = {{"X\r\nY", "a"}}},
                                     {.headers = {{"X: a", "b"}}},
                                     {.headers = {{"", "b"}}},
                                     {.headers = {{"X", std::string("a\0b", 3)}}},
                                     {.type = "text/html\nX: y"},
                                     {.status = 99},
                                     {.status = 1000}};
  for (const Answer& each : wrong) {
    server.call([&] { answer = each; });
    const Received received = client.ask(get("/"));
    EXPECT_EQ(received.status, 500);
    EXPECT_EQ(received.head.find("Set-Cookie"), std::string::npos);
  }
  EXPECT_EQ(server.reports().size(), wrong.size());
}

TEST(NetFiles, AreSentInPart) {
  TestFolder folder;
  const std::string text = pattern(2000000);
  std::ofstream(folder.path / "file", std::ios::binary) << text;
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    const uint64_t begin = std::stoull(exchange.query().at("a")), end = std::stoull(exchange.query().at("b"));
    co_return Answer{.type = "video/mp4", .file = FileBody{folder.path / "file", begin, end}};
  });
  Client client(server.port);
  for (const auto& [begin, end] : std::vector<std::pair<size_t, size_t>>{
           {0, 2000000}, {0, 0}, {5, 6}, {100000, 100000 + 262144}, {1, 2000000}, {2000000, 2000000}}) {
    const Received answer = client.ask(get("/?a=" + std::to_string(begin) + "&b=" + std::to_string(end)));
    ASSERT_EQ(answer.status, 200);
    ASSERT_EQ(answer.header("Content-Type"), "video/mp4");
    ASSERT_TRUE(answer.body == text.substr(begin, end - begin)) << begin << " " << end;
  }
}

TEST(NetFiles, ThatCannotBeSentAre500) {
  TestFolder folder;
  std::ofstream(folder.path / "file") << "0123456789";
  ASSERT_EQ(mkfifo((folder.path / "pipe").c_str(), 0600), 0);
  FileBody body;
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return Answer{.file = body}; });
  Client client(server.port);
  const std::vector<FileBody> wrong = {{folder.path / "absent", 0, 1},
                                       {folder.path / "file", 0, 11},
                                       {folder.path / "file", 5, 4},
                                       {folder.path, 0, 1},
                                       {folder.path / "pipe", 0, 0}};
  for (const FileBody& each : wrong) {
    server.call([&] { body = each; });
    const Received answer = client.ask(get("/"));
    EXPECT_EQ(answer.status, 500) << each.path;
    EXPECT_EQ(answer.body, internal_error().body);
  }
  EXPECT_EQ(server.reports().size(), wrong.size());
}

/// The client sees that it did not get all of it.
TEST(NetFiles, ThatShrinkEndTheConnection) {
  TestFolder folder;
  const std::filesystem::path path = folder.path / "file";
  std::ofstream(path) << "x";
  const uint64_t size = uint64_t(64) << 20;
  std::filesystem::resize_file(path, size);
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return Answer{.file = FileBody{path, 0, size}}; });
  Client client(server.port, 65536);
  client.send(get("/"));
  const std::string first = client.line();
  EXPECT_EQ(first, "HTTP/1.1 200 OK\r\n");
  std::filesystem::resize_file(path, 1000);
  client.ends();
  EXPECT_LT(client.left().size(), size);
  server.wait_for_connections(0);
  ASSERT_EQ(server.reports().size(), 1u);
  EXPECT_NE(server.reports()[0].find("became shorter"), std::string::npos);
}

TEST(NetFiles, AreSentInConstantMemory) {
  if (!kMemoryCounts) GTEST_SKIP() << "sanitizers have memory of their own";
  TestFolder folder;
  const std::filesystem::path path = folder.path / "file";
  std::ofstream(path) << "x";
  const uint64_t size = uint64_t(1) << 30;
  std::filesystem::resize_file(path, size);  // no block on the disk
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return Answer{.file = FileBody{path, 0, size}}; });
  Client client(server.port);
  client.send(get("/"));
  std::vector<char> block(1 << 20);
  uint64_t before = 0, most = 0, got = 0;
  while (got < size) {
    const ssize_t bytes = recv(client.descriptor(), block.data(), block.size(), 0);
    ASSERT_GT(bytes, 0);
    if (before == 0 && got > (16 << 20)) before = resident_bytes();
    got += static_cast<uint64_t>(bytes);
    most = std::max(most, resident_bytes());
  }
  EXPECT_LT(most, before + (4 << 20));
}

/// A client that takes nothing holds nothing for longer than body_time, be it of a file, a body or events.
TEST(NetAnswers, AreGivenUpWhereTheClientTakesNothing) {
  TestFolder folder;
  const std::filesystem::path path = folder.path / "file";
  std::ofstream(path) << "x";
  std::filesystem::resize_file(path, uint64_t(64) << 20);
  bool events_ended = false;
  TestServer server(
      [&](Exchange& exchange) -> Awaitable<Answer> {
        if (exchange.path() == "/file") co_return Answer{.file = FileBody{path, 0, uint64_t(64) << 20}};
        if (exchange.path() == "/body") co_return text_answer(std::string(64 << 20, 'x'));
        co_return Answer{.type = "text/event-stream", .events = [&](EventStream& stream) -> Awaitable<void> {
                           while (co_await stream.send(std::string(100000, 'x'))) continue;
                           events_ended = true;
                         }};
      },
      {.body_time = std::chrono::seconds(1)});
  Client file(server.port), body(server.port), events(server.port);
  file.send(get("/file"));
  body.send(get("/body"));
  events.send(get("/events"));
  server.wait_for_connections(3);
  server.wait_for_connections(0);
  EXPECT_TRUE(server.call([&] { return events_ended; }));
}

/// The system takes megabytes of an answer at once, and asks for more when a third of them is gone: here after longer than
/// body_time. The client takes something all the time.
TEST(NetAnswers, ReachSlowClients) {
  TestServer server([&](Exchange&) -> Awaitable<Answer> { co_return text_answer(std::string(16 << 20, 'x')); },
                    {.body_time = std::chrono::seconds(1)});
  Client client(server.port, 8192);
  client.send(get("/"));
  std::vector<char> block(4096);
  for (int i = 0; i < 50; ++i) {
    ASSERT_GT(recv(client.descriptor(), block.data(), block.size(), 0), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  }
  EXPECT_EQ(server.connections(), 1u) << "it was given up";
}

Handler three_events() {
  return [](Exchange&) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [](EventStream& stream) -> Awaitable<void> {
                       EXPECT_TRUE(co_await stream.send("{\"a\":1}"));
                       EXPECT_TRUE(co_await stream.comment());
                       EXPECT_TRUE(co_await stream.send("two", "named"));
                       EXPECT_TRUE(co_await stream.send("a\nb\r\nc"));
                     }};
  };
}
const std::string kEvents = "data: {\"a\":1}\n\n:\n\nevent: named\ndata: two\n\ndata: a\ndata: b\ndata: c\n\n";

TEST(NetEvents, AreSentInChunks) {
  TestServer server(three_events());
  Client client(server.port);
  for (int i = 0; i < 2; ++i) {
    const Received answer = client.ask(get("/"));
    EXPECT_EQ(answer.header("Content-Type"), "text/event-stream");
    EXPECT_EQ(answer.header("Transfer-Encoding"), "chunked");
    EXPECT_EQ(answer.header("Content-Length"), "");
    EXPECT_EQ(answer.header("Cache-Control"), "no-store");
    EXPECT_EQ(answer.body, kEvents);
    EXPECT_TRUE(answer.whole);
  }
}

TEST(NetEvents, EndWithTheConnectionInHttp10) {
  TestServer server(three_events());
  Client client(server.port);
  const Received answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(answer.header("Transfer-Encoding"), "");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_EQ(answer.body, kEvents);
}

/// Each is there before the next is made.
TEST(NetEvents, ArriveAtOnce) {
  std::atomic<int> wanted = 0;
  TestServer server([&](Exchange&) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [&](EventStream& stream) -> Awaitable<void> {
                       for (int i = 0; i < 3; ++i) {
                         while (wanted < i) co_await pause(std::chrono::milliseconds(2));
                         co_await stream.send(std::to_string(i));
                       }
                     }};
  });
  Client client(server.port);
  client.send(get("/"));
  for (int i = 0; i < 3; ++i) {
    wanted = i;
    while (client.line() != "data: " + std::to_string(i) + "\n") ASSERT_TRUE(client.left().size() < 1000);
  }
}

TEST(NetEvents, TellThatTheClientIsGone) {
  std::promise<int> told;
  TestServer server([&](Exchange&) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [&](EventStream& stream) -> Awaitable<void> {
                       int sent = 0;
                       while (co_await stream.comment()) {
                         ++sent;
                         co_await pause(std::chrono::milliseconds(5));
                       }
                       const bool again = co_await stream.send("x");
                       told.set_value(again ? -1 : sent);
                     }};
  });
  {
    Client client(server.port);
    client.send(get("/"));
    while (client.line() != ":\n") continue;
  }
  EXPECT_GT(told.get_future().get(), 0);
  server.wait_for_connections(0);
  EXPECT_TRUE(server.reports().empty());
}

TEST(NetEvents, ThatFailBreakOff) {
  TestServer server([](Exchange&) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [](EventStream& stream) -> Awaitable<void> {
                       co_await stream.send("one");
                       throw std::runtime_error("the secret");
                     }};
  });
  Client client(server.port);
  const Received answer = client.ask(get("/"));
  EXPECT_EQ(answer.body, "data: one\n\n");
  EXPECT_FALSE(answer.whole);
  ASSERT_EQ(server.reports().size(), 1u);
  EXPECT_EQ(server.reports()[0], "a stream of events was broken off: the secret");
}

}  // namespace
}  // namespace wan::serve::testing
