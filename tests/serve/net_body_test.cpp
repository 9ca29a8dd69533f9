// Bodies of requests.
#include <gtest/gtest.h>

#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

constexpr uint64_t kMost = 1 << 20;

/// POST /echo answers with the body, /save writes it, others leave it alone.
class NetBody : public ::testing::Test {
 protected:
  Awaitable<Answer> answer(Exchange& exchange) {
    if (exchange.path() == "/echo") {
      std::string body = co_await exchange.read_body(kMost);
      co_return text_answer(std::move(body));
    }
    if (exchange.path() == "/save") {
      const uint64_t length = co_await exchange.save_body(file(), uint64_t(1) << 31);
      co_return text_answer(std::to_string(length));
    }
    if (exchange.path() == "/save-small") {
      const uint64_t length = co_await exchange.save_body(file(), 1000);
      co_return text_answer(std::to_string(length));
    }
    co_return text_answer("ignored");
  }
  std::filesystem::path file() const { return folder_.path / "upload"; }
  bool folder_is_empty() const { return std::filesystem::is_empty(folder_.path); }
  Handler handler() {
    return [this](Exchange& exchange) { return answer(exchange); };
  }

  TestFolder folder_;
};

std::string chunked(const std::string& path, const std::string& body, size_t size) {
  std::ostringstream text;
  text << "POST " << path << " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += size) {
    const std::string piece = body.substr(at, size);
    text << std::hex << piece.size() << "\r\n" << piece << "\r\n";
  }
  text << "0\r\n\r\n";
  return text.str();
}

TEST_F(NetBody, IsReadWhole) {
  TestServer server(handler());
  Client client(server.port);
  for (size_t size : {0, 1, 100, 4000, 4096, 4097, 65536, 300000, 1 << 20}) {
    const std::string body = pattern(size);
    ASSERT_EQ(client.ask(post("/echo", body)).body, body) << size;
  }
}

TEST_F(NetBody, IsReadInChunksOfAnySize) {
  TestServer server(handler());
  Client client(server.port);
  const std::string body = pattern(500000);
  for (size_t size : {7, 4095, 65536, 262144, 500000}) {
    ASSERT_EQ(client.ask(chunked("/echo", body, size)).body, body) << size;
  }
  ASSERT_EQ(client.ask(chunked("/echo", pattern(5000), 1)).body, pattern(5000));
}

TEST_F(NetBody, IsReadByteByByte) {
  TestServer server(handler());
  Client client(server.port);
  for (char c : chunked("/echo", "0123456789abcdefghij", 7)) ASSERT_TRUE(client.send(std::string_view(&c, 1)));
  EXPECT_EQ(client.receive().body, "0123456789abcdefghij");
}

TEST_F(NetBody, IsSavedToAFile) {
  TestServer server(handler());
  Client client(server.port);
  const std::string body = pattern(3 << 20);
  for (const std::string& request : {post("/save", body), chunked("/save", body, 100000), post("/save", "")}) {
    const Received answer = client.ask(request);
    ASSERT_EQ(answer.status, 200) << answer.body;
    const std::string wanted = request.size() > 200 ? body : "";
    EXPECT_EQ(answer.body, std::to_string(wanted.size()));
    EXPECT_TRUE(file_text(file()) == wanted);
    struct stat info {};
    ASSERT_EQ(stat(file().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    std::filesystem::remove(file());
  }
}

TEST_F(NetBody, IsSavedInConstantMemory) {
  if (!kMemoryCounts) GTEST_SKIP() << "sanitizers have memory of their own";
  TestServer server(handler());
  Client client(server.port);
  const uint64_t size = uint64_t(256) << 20;
  const std::string piece = pattern(1 << 20);
  client.send("POST /save HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  uint64_t before = 0, most = 0;
  for (uint64_t sent = 0; sent < size; sent += piece.size()) {
    ASSERT_TRUE(client.send(piece));
    if (sent == 8 * piece.size()) before = resident_bytes();
    most = std::max(most, resident_bytes());
  }
  EXPECT_EQ(client.receive().body, std::to_string(size));
  EXPECT_LT(most, before + (8 << 20));
}

TEST_F(NetBody, LeavesNothingWhereSavingFails) {
  TestServer server(handler(), {.body_time = std::chrono::seconds(1)});
  const std::string head = "POST /save HTTP/1.1\r\nHost: a\r\n";
  for (const auto& [request, status] : std::vector<std::pair<std::string, int>>{
           {head + "Content-Length: 500000\r\n\r\n" + std::string(300000, 'x'), 400},  // half-closed below
           {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
           {chunked("/save-small", pattern(5000), 500), 413}}) {
    Client client(server.port);
    client.send(request);
    client.half_close();
    EXPECT_EQ(client.receive().status, status) << request.substr(0, 100);
    EXPECT_TRUE(folder_is_empty());
  }
  Client stalls(server.port);
  EXPECT_EQ(stalls.ask(head + "Content-Length: 500000\r\n\r\n" + std::string(300000, 'x')).status, 408);
  EXPECT_TRUE(folder_is_empty());
  Client leaves(server.port);
  leaves.send(head + "Content-Length: 500000\r\n\r\n" + std::string(300000, 'x'));
  leaves.reset();
  server.wait_for_connections(0);
  EXPECT_TRUE(folder_is_empty());
  EXPECT_TRUE(server.reports().empty());
}

TEST_F(NetBody, DoesNotReplaceAFile) {
  TestServer server(handler());
  std::ofstream(file()) << "older";
  EXPECT_EQ(Client(server.port).ask(post("/save", "newer")).status, 500);
  EXPECT_EQ(file_text(file()), "older");
  ASSERT_EQ(server.reports().size(), 1u);
  EXPECT_NE(server.reports()[0].find("POST /save: cannot create"), std::string::npos) << server.reports()[0];
}

/// 1 TiB is announced and nothing sent; body_time is long, so only an answer before reading comes.
TEST_F(NetBody, IsRefusedByItsLengthBeforeItIsRead) {
  TestServer server(handler(), {.body_time = std::chrono::seconds(3600)});
  Client client(server.port);
  const Received answer = client.ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n");
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_NE(answer.json()["detail"].get<std::string>().find("1048576"), std::string::npos);
  EXPECT_TRUE(client.ends()) << "half-closed";
}

/// A client that writes its body before it reads gets the answer, not a reset.
TEST_F(NetBody, IsRefusedWithoutAReset) {
  TestServer server(handler());
  Client client(server.port);
  const std::string body = pattern(20 << 20);
  ASSERT_TRUE(client.send(post("/echo", body)));
  const Received answer = client.receive();
  EXPECT_EQ(answer.status, 413);
  EXPECT_TRUE(answer.whole);
  EXPECT_TRUE(client.ends());
  client.close();
  server.wait_for_connections(0);
}

TEST_F(NetBody, IsRefusedWhereChunksAddUpToTooMuch) {
  TestServer server(handler());
  Client client(server.port);
  client.send(chunked("/echo", pattern(3 << 20), 50000));
  EXPECT_EQ(client.receive().status, 413);
  EXPECT_TRUE(client.ends());
  Client endless(server.port);
  endless.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" +
               pattern(2 << 20));
  EXPECT_EQ(endless.receive().status, 413);
}

TEST_F(NetBody, IsRefusedWhereChunksAreWrong) {
  TestServer server(handler());
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& body :
       {std::string("xyz\r\n"), std::string("-1\r\n"), std::string("5 5\r\nabcde\r\n"),
        std::string("3\r\nabcd\r\n0\r\n\r\n"), std::string("10000000000000000\r\nabc"), std::string("\r\n\r\n"),
        std::string("3\r\nabc0\r\n\r\n"), "3;" + std::string(400000, 'x'), "0\r\n" + std::string(400000, 'x'),
        std::string("0\r\nno colon\r\n\r\n"), std::string("0\r\nContent-Length: 5\r\n\r\n")}) {
    Client client(server.port);
    const Received answer = client.ask(head + body);
    EXPECT_EQ(answer.status, 400) << body.substr(0, 30);
    EXPECT_NE(answer.body.find("[body]"), std::string::npos) << answer.body;
    EXPECT_TRUE(client.ends()) << body.substr(0, 30);
  }
}

/// Fields behind the body are none of the head's.
TEST_F(NetBody, HasNoHeadersBehindIt) {
  TestServer server([](Exchange& exchange) -> Awaitable<Answer> {
    const std::string body = co_await exchange.read_body(kMost);
    co_return text_answer(body + std::string(exchange.header("Authorization").value_or(" none")));
  });
  EXPECT_EQ(
      Client(server.port)
          .ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nAuthorization: Key "
               "k\r\n\r\n")
          .body,
      "x none");
}

TEST_F(NetBody, ThatStallsIsAnswered) {
  TestServer server(handler(), {.body_time = std::chrono::seconds(1)});
  for (const char* rest : {"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    Client client(server.port);
    const Received answer = client.ask(std::string("POST /echo HTTP/1.1\r\nHost: a\r\n") + rest);
    EXPECT_EQ(answer.status, 408);
    EXPECT_EQ(answer.header("Connection"), "close");
    EXPECT_TRUE(client.ends());
  }
}

/// The time counts from the last byte.
TEST_F(NetBody, MayTrickle) {
  TestServer server(handler(), {.body_time = std::chrono::seconds(1)});
  Client client(server.port);
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
  for (char c : std::string("abcdef")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    client.send(std::string_view(&c, 1));
  }
  EXPECT_EQ(client.receive().body, "abcdef");
}

TEST_F(NetBody, ThatEndsEarlyIsAnswered) {
  TestServer server(handler());
  Client client(server.port);
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  client.half_close();
  const Received answer = client.receive();
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("[body] ended"), std::string::npos);
  EXPECT_TRUE(client.ends());
}

const std::string kExpect = "Expect: 100-continue\r\n";

TEST_F(NetBody, IsAskedForWhereTheClientWaits) {
  TestServer server(handler());
  Client client(server.port);
  for (int i = 0; i < 3; ++i) {
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\n" + kExpect + "Content-Length: 3\r\n\r\n");
    const Received interim = client.receive();
    ASSERT_EQ(interim.status, 100);
    ASSERT_EQ(interim.head, "HTTP/1.1 100 Continue\r\n\r\n");
    const Received answer = client.ask("abc");
    ASSERT_EQ(answer.status, 200);
    ASSERT_EQ(answer.body, "abc");
  }
}

TEST_F(NetBody, IsNotAskedForWhereItIsNotWanted) {
  TestServer server(handler());
  for (const auto& [path, length, status] :
       {std::tuple("/echo", "2000000", 413), std::tuple("/save-small", "1001", 413), std::tuple("/other", "3", 200)}) {
    Client client(server.port);
    const Received answer = client.ask(std::string("POST ") + path + " HTTP/1.1\r\nHost: a\r\n" + kExpect +
                                       "Content-Length: " + length + "\r\n\r\n");
    EXPECT_EQ(answer.status, status) << path;
    EXPECT_EQ(answer.header("Connection"), "close") << "whether the body follows is not known";
    EXPECT_TRUE(client.ends());
  }
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(NetBody, IsNotAskedForByHttp10) {
  TestServer server(handler());
  Client client(server.port);
  client.send("POST /echo HTTP/1.0\r\n" + kExpect + "Content-Length: 3\r\n\r\n");
  EXPECT_EQ(client.ask("abc").status, 200);
}

TEST_F(NetBody, ThatNobodyReadIsDropped) {
  TestServer server(handler());
  Client client(server.port);
  for (const std::string& request :
       {post("/other", pattern(100000)), post("/other", pattern(256 << 10)), chunked("/other", pattern(100000), 999),
        chunked("/other", "", 1), post("/other", "")}) {
    ASSERT_EQ(client.ask(request).body, "ignored");
    ASSERT_EQ(client.ask(post("/echo", "next")).body, "next") << "the next one is read from its beginning";
  }
}

TEST_F(NetBody, ThatNobodyReadEndsTheConnectionWhereItIsLarge) {
  TestServer server(handler());
  Client client(server.port);
  client.send(post("/other", pattern((256 << 10) + 1)) + get("/hidden"));
  const Received answer = client.receive();
  EXPECT_EQ(answer.body, "ignored");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(client.ends());
  EXPECT_EQ(client.left(), "");
  Client in_chunks(server.port);
  in_chunks.send(chunked("/other", pattern(2 << 20), 1000) + get("/hidden"));
  EXPECT_EQ(in_chunks.receive().body, "ignored");
  EXPECT_TRUE(in_chunks.ends());
  EXPECT_EQ(in_chunks.left(), "");
}

TEST_F(NetBody, ThatNobodyReadMustComeInTime) {
  TestServer server(handler(), {.body_time = std::chrono::seconds(1)});
  Client client(server.port);
  EXPECT_EQ(client.ask("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").body, "ignored");
  EXPECT_TRUE(client.ends());
}

}  // namespace
}  // namespace wan::serve::testing
