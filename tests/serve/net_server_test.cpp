// The server as a whole: where it listens, how many it serves, how it stops, what a connection costs.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <memory>

#include "engine/base/error.h"
#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

Awaitable<Answer> short_answer(Exchange& exchange) {
  co_return text_answer(exchange.path());
}

std::string refusal(const NetOptions& options) {
  boost::asio::io_context io;
  try {
    Server server(io, options, short_answer, [](const std::string&) {});
  } catch (const InvalidRequest& error) {
    return error.errors.at(0).line();
  }
  return {};
}

TEST(NetServer, NamesWhatItCannotListenOn) {
  TestServer server(short_answer);
  const std::string taken = refusal({.port = server.port});
  EXPECT_EQ(taken.rfind("[listen] cannot be 127.0.0.1:" + std::to_string(server.port), 0), 0u) << taken;
  EXPECT_EQ(refusal({.address = "192.0.2.1", .port = 0}).rfind("[listen] cannot be 192.0.2.1:0", 0), 0u);
  EXPECT_EQ(refusal({.address = "no host.invalid", .port = 0}).rfind("[listen] must be an address", 0), 0u);
}

TEST(NetServer, ListensOnANameAndOnAnyPort) {
  TestServer server(short_answer, {.address = "localhost"});
  EXPECT_NE(server.port, 0);
}

TEST(NetServer, ClosesConnectionsBeyondTheLimit) {
  TestServer server(short_answer, {.most_connections = 3});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(server.port));
    ASSERT_EQ(clients.back()->ask(get("/a")).body, "/a");
  }
  Client more(server.port);
  more.ends();
  EXPECT_EQ(more.left(), "");
  clients.pop_back();
  server.wait_for_connections(2);
  EXPECT_EQ(Client(server.port).ask(get("/b")).body, "/b");
}

TEST(NetServer, StopsWithoutBreakingOffAnswers) {
  std::promise<void> began, goes_on;
  std::shared_future<void> go = goes_on.get_future().share();
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    if (exchange.path() == "/slow") {
      began.set_value();
      while (go.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        co_await pause(std::chrono::milliseconds(2));
      }
    }
    co_return text_answer(exchange.path());
  });
  Client idle(server.port), used(server.port), slow(server.port);
  EXPECT_EQ(used.ask(get("/a")).body, "/a");
  slow.send(get("/slow"));
  began.get_future().get();
  server.wait_for_connections(3);
  server.stop();
  EXPECT_TRUE(idle.ends());
  EXPECT_TRUE(used.ends());
  EXPECT_FALSE(Client(server.port).connected());
  server.wait_for_connections(1);
  goes_on.set_value();
  const Received answer = slow.receive();
  EXPECT_EQ(answer.body, "/slow");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(slow.ends());
  server.wait_for_connections(0);
}

TEST(NetServer, EndsStreamsOfEventsWhenItStops) {
  TestServer server([](Exchange&) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [](EventStream& stream) -> Awaitable<void> {
                       while (co_await stream.comment()) co_await pause(std::chrono::milliseconds(5));
                     }};
  });
  Client client(server.port);
  client.send(get("/"));
  while (client.line() != ":\n") continue;
  server.stop();
  EXPECT_TRUE(client.ends());
  EXPECT_EQ(client.left().substr(client.left().size() - 5), "0\r\n\r\n");
  server.wait_for_connections(0);
}

/// What still runs when the server object goes has an end: nothing hangs, nothing is used after it is gone.
TEST(NetServer, MayBeDestroyedAtAnyTime) {
  TestFolder folder;
  std::ofstream(folder.path / "file") << "x";
  std::filesystem::resize_file(folder.path / "file", uint64_t(64) << 20);
  for (int round = 0; round < 5; ++round) {
    TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
      if (exchange.path() == "/gone") co_await exchange.gone();
      if (exchange.path() == "/body") co_await exchange.read_body(1000);
      if (exchange.path() == "/save") co_await exchange.save_body(folder.path / "upload", uint64_t(1) << 30);
      if (exchange.path() == "/file") co_return Answer{.file = FileBody{folder.path / "file", 0, uint64_t(64) << 20}};
      co_return text_answer(exchange.path());
    });
    std::vector<std::unique_ptr<Client>> clients;
    for (const char* path : {"/gone", "/body", "/save", "/file", "/other"}) {
      clients.push_back(std::make_unique<Client>(server.port));
      clients.back()->send(std::string("POST ") + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\nabc");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10 * round));
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path / "upload"));
}

/// The io_context ends with handlers in the middle of everything.
TEST(NetServer, MayBeLeftInTheMiddle) {
  TestFolder folder;
  {
    boost::asio::io_context io;
    std::atomic<int> began = 0;
    Server server(
        io, {.port = 0},
        [&](Exchange& exchange) -> Awaitable<Answer> {
          ++began;
          if (exchange.path() == "/gone") co_await exchange.gone();
          if (exchange.path() == "/save") co_await exchange.save_body(folder.path / "upload", 1000);
          if (exchange.path() == "/wait") co_await pause(std::chrono::hours(1));
          co_return Answer{.events = [](EventStream& stream) -> Awaitable<void> {
            while (co_await stream.comment()) co_await pause(std::chrono::milliseconds(1));
          }};
        },
        [](const std::string&) {});
    std::vector<std::unique_ptr<Client>> clients;
    for (const char* path : {"/gone", "/save", "/wait", "/events"}) {
      clients.push_back(std::make_unique<Client>(server.port()));
      clients.back()->send(std::string("POST ") + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\nabc");
    }
    std::thread thread([&] { io.run(); });
    while (began < 4 || !std::filesystem::exists(folder.path / "upload")) std::this_thread::yield();
    io.stop();
    thread.join();
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path / "upload"));
}

TEST(NetServer, KeepsLittleForAnIdleConnection) {
  if (!kMemoryCounts) GTEST_SKIP() << "sanitizers have memory of their own";
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> {
    const std::string body = co_await exchange.read_body(1 << 20);
    co_return text_answer(body);
  });
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::string large = post("/", pattern(300000)), small = post("/", "abc");
  std::vector<std::unique_ptr<Client>> clients;
  const auto add = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Client>(server.port));
      // A client of a test keeps nothing itself.
      ASSERT_EQ(clients.back()->ask(i % 50 == 0 ? large : small).status, 200);
    }
  };
  add(100);
  const uint64_t before = resident_bytes();
  const size_t count = 400;
  add(count);
  EXPECT_LT((resident_bytes() - before) / count, 20u << 10);
}

TEST(NetServer, IsNotHeldUpByManyIdleOnes) {
  TestServer server(short_answer);
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 200; ++i) idle.push_back(std::make_unique<Client>(server.port));
  EXPECT_EQ(Client(server.port).ask(get("/a")).body, "/a");
}

}  // namespace
}  // namespace wan::serve::testing
