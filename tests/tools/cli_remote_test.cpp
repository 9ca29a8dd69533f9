// What wan-remote makes of a server's answers, whatever they hold.
#include <gtest/gtest.h>

#include "tools/remote/answers.h"
#include "tools/remote/event_stream.h"
#include "tools/remote/watch.h"

namespace wan::remote {
namespace {

using nlohmann::json;

std::vector<std::string> events_of(const std::string& text, size_t piece) {
  std::vector<std::string> events;
  EventStream stream([&](const std::string& data) { events.push_back(data); });
  for (size_t at = 0; at < text.size(); at += piece) stream.take(std::string_view(text).substr(at, piece));
  return events;
}

TEST(RemoteEvents, InPiecesOfAnySize) {
  const std::string text =
      ": comment\n\ndata: one\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\nid: 7\rdata\r\rdata: not yet ended\n";
  for (size_t piece = 1; piece <= text.size(); ++piece)
    EXPECT_EQ(events_of(text, piece), (std::vector<std::string>{"one", "two\nlines", ""})) << piece;
}

TEST(RemoteEvents, OneThatNeverEndsIsRefused) {
  EventStream stream([](const std::string&) {});
  EXPECT_THROW(for (int i = 0; i < 20; ++i) stream.take("data: " + std::string(1 << 20, 'x') + "\n"),
               std::runtime_error);
}

TEST(RemoteAnswers, ErrorsOfAnyFormAreRead) {
  const auto lines = [](const char* text) {
    std::string all;
    for (const FieldError& error : field_errors(read_answer(text))) all += error.line() + "\n";
    return all;
  };
  EXPECT_EQ(
      lines(R"({"detail": [{"loc": ["body", "shift"], "type": "less_than_equal", "input": 12.5, "ctx": {"le": 10}},
                     {"loc": ["body", "seed"], "type": "int_parsing", "input": "x", "msg": "Input should be"},
                     {"loc": ["body", "image_url"], "type": "file_download_error", "input": "http://a:b@h/x?k=1", "msg": "No"},
                     {"loc": ["body", "num_frames"], "type": "less_than_equal", "input": 5, "msg": "Odd"}]})"),
      "[shift] must be at most 10, got 12.5\n"
      "[seed] must be a whole number, got 'x'\n"
      "[image_url] is refused by the server: No (got 'http://h/x')\n"
      "[num_frames] is refused by the server: Odd\n");
  EXPECT_EQ(lines(R"({"detail": [{}, 5, {"loc": 7, "type": [], "msg": {}, "ctx": []}]})"),
            "[request] is refused by the server: \n[request] is refused by the server: \n");
  for (const char* none : {"", "[]", "{\"detail\": \"text\"}", "{\"detail\": {}}", "not JSON"})
    EXPECT_EQ(lines(none), "");
}

TEST(RemoteAnswers, StatusesOfAnyFormAreRead) {
  for (const char* none : {"5", "{}", "{\"status\": 5}", "{\"status\": \"RUNNING\"}", "x"}) {
    EXPECT_FALSE(read_status(read_answer(none))) << none;
  }
  const auto odd = read_status(read_answer(
      R"({"status": "IN_PROGRESS", "logs": [5, {"message": 7}], "queue_position": "x", "progress": {"stage": "denoise",
          "step": -1, "steps": 1e99, "seconds_left": -3}, "metrics": 3, "error": null, "preview_url": 5})"));
  ASSERT_TRUE(odd);
  EXPECT_FALSE(odd->report);
  EXPECT_FALSE(odd->seconds_left);
  EXPECT_EQ(odd->logs.size(), 1u);
  EXPECT_FALSE(odd->failed());
}

TEST(RemoteAnswers, LinesAreToldOnce) {
  NewLines lines;
  const LogLine one{"1", "INFO", "a"}, two{"2", "INFO", "a"};
  EXPECT_EQ(lines.of({one}).size(), 1u);
  EXPECT_EQ(lines.of({one, two}).size(), 1u);
  EXPECT_EQ(lines.of({one, two}).size(), 0u);
}

}  // namespace
}  // namespace wan::remote
