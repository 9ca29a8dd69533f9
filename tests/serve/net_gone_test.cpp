// Handlers that wait beside a client that may leave.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

/// A handler that waits for gone() of its own exchange, and tells of it.
struct Waiter {
  std::promise<void> began, gone;
  Handler handler() {
    return [this](Exchange& exchange) -> Awaitable<Answer> {
      if (exchange.path() != "/wait") co_return text_answer(exchange.path());
      began.set_value();
      co_await exchange.gone();
      gone.set_value();
      co_return text_answer("late");
    };
  }
};

enum class Leaving { Close, HalfClose, Reset };
class NetGone : public ::testing::TestWithParam<std::tuple<Leaving, std::string>> {};

TEST_P(NetGone, IsToldWhateverTheClientSentBefore) {
  const auto& [leaving, sent] = GetParam();
  Waiter waiter;
  TestServer server(waiter.handler());
  Client client(server.port);
  client.send(get("/wait") + sent);
  waiter.began.get_future().get();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));  // usually it waits by now
  if (leaving == Leaving::Close) client.close();
  if (leaving == Leaving::HalfClose) client.half_close();
  if (leaving == Leaving::Reset) client.reset();
  waiter.gone.get_future().get();
  if (leaving == Leaving::HalfClose) {
    EXPECT_EQ(client.receive().body, "late") << "a handler may still answer";
    if (sent == get("/next")) {
      EXPECT_EQ(client.receive().body, "/next") << "what was sent ahead is not eaten";
    }
  }
  client.close();
  server.wait_for_connections(0);
}

INSTANTIATE_TEST_SUITE_P(Ways, NetGone,
                         ::testing::Combine(::testing::Values(Leaving::Close, Leaving::HalfClose, Leaving::Reset),
                                            ::testing::Values("", get("/next"), pattern(50000))));

/// The wait stands beside the handler; where the handler is first, the wait ends without "gone".
TEST(NetGoneBeside, EndsWithItsHandler) {
  std::vector<std::string> ends;
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    for (int i = 0; i < 2; ++i) {
      boost::asio::co_spawn(
          co_await boost::asio::this_coro::executor, exchange.gone(), [&](std::exception_ptr failure) {
            try {
              if (failure) std::rethrow_exception(failure);
              ends.push_back("gone");
            } catch (const boost::system::system_error& error) {
              ends.push_back(error.code() == boost::asio::error::operation_aborted ? "ended" : "other");
            }
          });
    }
    if (exchange.path() == "/slow") co_await pause(std::chrono::milliseconds(20));
    co_return text_answer(exchange.path());
  });
  Client client(server.port);
  // The second one comes with the first: the wait must not take it.
  client.send(get("/slow") + get("/slow") + get("/fast"));
  EXPECT_EQ(client.receive().body, "/slow");
  EXPECT_EQ(client.receive().body, "/slow");
  EXPECT_EQ(client.receive().body, "/fast");
  EXPECT_EQ(client.ask(get("/slow")).body, "/slow");
  client.close();
  server.wait_for_connections(0);
  EXPECT_EQ(server.call([&] { return ends; }), std::vector<std::string>(8, "ended"));
}

TEST(NetGoneBeside, ReachesStreamsOfEvents) {
  std::promise<void> gone;
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    co_return Answer{.type = "text/event-stream", .events = [&](EventStream& stream) -> Awaitable<void> {
                       co_await stream.send("one");
                       co_await exchange.gone();
                       gone.set_value();
                     }};
  });
  Client client(server.port);
  client.send(get("/"));
  while (client.line() != "data: one\n") continue;
  client.close();
  gone.get_future().get();
}

/// Nothing is destroyed below a handler whose client is gone: it goes on, reads, writes, and ends.
TEST(NetGoneBeside, LeavesTheHandlerToItsEnd) {
  TestFolder folder;
  std::promise<std::string> told;
  TestServer server([&](Exchange& exchange) -> Awaitable<Answer> {
    co_await exchange.gone();
    co_await pause(std::chrono::milliseconds(20));
    std::string text = exchange.path() + " " + exchange.peer() + " ";
    try {
      co_await exchange.save_body(folder.path / "upload", 1000);
      text += "saved";
    } catch (const HttpError& error) {
      text += std::to_string(error.answer.status);
    }
    told.set_value(text);
    co_return text_answer("nobody reads it");
  });
  Client client(server.port);
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  server.wait_for_connections(1);
  client.reset();
  EXPECT_EQ(told.get_future().get(), "/a 127.0.0.1 400");
  server.wait_for_connections(0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path));
  EXPECT_TRUE(server.reports().empty());
}

}  // namespace
}  // namespace wan::serve::testing
