// The client of `wan-bench serve`: answers in pieces, and a server that does not do as it should. No figure is looked at.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/support/web_server.h"
#include "tools/serve_bench/load.h"
#include "tools/serve_bench/serve_report.h"

namespace wan::bench {
namespace {

TEST(ServeBench, AnAnswerIsPutTogetherFromItsBytes) {
  const std::string text = "HTTP/1.1 202 Accepted\r\nServer: x\r\ncontent-length:  5\r\n\r\nhello";
  AnswerReader reader;
  for (int turn = 0; turn < 2; ++turn) {
    for (size_t i = 0; i < text.size(); ++i) EXPECT_EQ(reader.take(text.substr(i, 1)), i + 1 == text.size()) << i;
    EXPECT_EQ(reader.answer().status, 202);
    EXPECT_EQ(reader.answer().body, "hello");
    reader.clear();
  }
  EXPECT_TRUE(reader.take("HTTP/1.1 204 No Content\r\n\r\n"));
}

TEST(ServeBench, WhatIsNoAnswerIsRefused) {
  for (const char* text :
       {"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "SSH-2.0 hello\r\n\r\n",
        "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX-Content-Length: 0\r\n\r\n"})
    EXPECT_THROW(AnswerReader().take(text), std::runtime_error) << text;
  AnswerReader endless;
  EXPECT_THROW(endless.take(std::string(1 << 20, 'x')), std::runtime_error);
}

LoadOptions load_at(const WebServer& server) {
  LoadOptions load;
  load.port = uint16_t(server.port());
  load.request = request_text(load.port, "GET", "/status");
  load.stream_request = request_text(load.port, "GET", "/stream");
  load.seconds = 0.2;
  load.check = [](const HttpAnswer& answer) {
    return answer.status == 200 ? "" : "got " + std::to_string(answer.status);
  };
  return load;
}

TEST(ServeBench, RightAnswersAreCountedAndStreamsRead) {
  std::atomic<int> idle = 2;
  std::atomic<bool> streamed = false;
  const WebServer server([&](WebClient& client) {
    if (client.path == "/stream") {
      client.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n: still here\n\nda");
      client.send("ta: 2\n\n");
      streamed = true;
    } else {
      // Idle connections come first; the others are answered when all of the stream is on its way.
      if (idle-- <= 0)
        while (!streamed && client.wait(10)) {
        }
      client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    }
    client.wait(60'000);
  });
  LoadOptions load = load_at(server);
  load.clients = 3, load.requests = 3, load.idle = 2, load.streams = 1;
  const LoadResult result = run_load(load);
  EXPECT_EQ(result.failed, 0u) << result.first_failure;
  EXPECT_EQ(result.answered, 3u);
  EXPECT_EQ(result.milliseconds.size(), 3u);
  EXPECT_TRUE(std::is_sorted(result.milliseconds.begin(), result.milliseconds.end()));
  EXPECT_EQ(result.idle_open, 2);
  EXPECT_EQ(result.streams_open, 1);
  EXPECT_EQ(result.stream_messages, 3u);
}

TEST(ServeBench, AServerThatClosesConnectionsIsTold) {
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", "hi"); });
  LoadOptions load = load_at(server);
  load.idle = 1;
  const LoadResult result = run_load(load);
  EXPECT_GT(result.answered, 0u);
  EXPECT_GT(result.failed, 0u);
  EXPECT_NE(result.first_failure.find("the server closed it"), std::string::npos) << result.first_failure;
  EXPECT_EQ(result.idle_open, 0);
}

TEST(ServeBench, WrongAnswersAreNotCounted) {
  const WebServer server([](WebClient& client) { client.answer("503 Busy", "", ""); });
  LoadOptions load = load_at(server);
  load.rate = 50;  // a connection that closes is replaced, and what was due is asked
  const LoadResult result = run_load(load);
  EXPECT_EQ(result.answered, 0u);
  EXPECT_TRUE(result.milliseconds.empty());
  EXPECT_GE(result.failed, 1u);
  EXPECT_EQ(result.first_failure, "got 503");
  load.idle = 1;
  EXPECT_THROW(run_load(load), std::runtime_error);
  load.idle = 0, load.streams = 1;
  EXPECT_THROW(run_load(load), std::runtime_error);
}

TEST(ServeBench, AServerThatIsNotThereIsTold) {
  LoadOptions load;
  {
    const WebServer server([](WebClient&) {});
    load = load_at(server);
  }
  EXPECT_THROW(run_load(load), std::runtime_error);
}

TEST(ServeBench, TheReportTellsWhatFailed) {
  ServeReport report{.command = "wan-bench serve", .commit = "abc", .environment = {}, .rows = {}, .left_out = {}};
  report.rows.push_back(
      {.name = "status", .setting = "1 client", .figures = {{"per_second", 5230.4}, {"p99_ms", 1.25}}});
  EXPECT_FALSE(report.has_failed());
  report.rows.push_back({.name = "submit", .setting = "", .failed = "3 requests failed"});
  report.left_out.emplace_back("mock", "no Python was named");
  EXPECT_TRUE(report.has_failed());
  EXPECT_EQ(report.find("status")->figure("p99_ms"), 1.25);
  EXPECT_EQ(report.find("submit"), nullptr);
  EXPECT_THROW(report.rows[0].figure("p98_ms"), std::out_of_range);
  const nlohmann::json json = nlohmann::json::parse(to_json(report).dump());
  EXPECT_EQ(json["rows"][0]["figures"]["per_second"], 5230.4);
  EXPECT_FALSE(json["rows"][0].contains("failed"));
  EXPECT_EQ(json["rows"][1]["failed"], "3 requests failed");
  EXPECT_EQ(json["left_out"][0]["name"], "mock");
  const std::string text = table(report);
  for (const char* part : {"| status | 1 client | per_second 5230, p99_ms 1.25 |", "| submit |  | **failed** |",
                           "failed: submit: 3 requests failed", "left out: mock: no Python was named"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace wan::bench
