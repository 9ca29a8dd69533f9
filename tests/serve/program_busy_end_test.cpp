// The end of a running wan-serve while requests of every kind are under way: coroutines that wait then go after all else.
#include <gtest/gtest.h>

#include <thread>

#include "tests/serve/serve_process.h"
#include "tests/support/web_server.h"

namespace wan::serve {
namespace {

const std::string kRun = "/fal-ai/wan/v2.2-a14b/text-to-video", kQueue = "/queue" + kRun,
                  kRequests = "/queue/fal-ai/wan/requests/";

std::string head(const std::string& method, const std::string& target, const std::string& headers) {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}

/// Connections that stay open until the end of the scope.
class Open {
 public:
  explicit Open(const ServeProcess& server) : server_(server) {}
  ~Open() {
    for (const int socket : sockets_) close(socket);
  }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
  void send(const std::string& text) { sockets_.push_back(server_.sent(text)); }
  int64_t count() const { return int64_t(sockets_.size()); }

 private:
  const ServeProcess& server_;
  std::vector<int> sockets_;
};

/// Waits until the server has so many connections beside the one that asks; false after a minute.
bool has_connections(const ServeProcess& server, int64_t count) {
  const std::regex number("\nwan_http_connections ([0-9]+)");
  for (int i = 0; i < 1200; ++i) {
    const std::string text = server.call("GET", "/metrics").body;
    std::smatch found;
    if (std::regex_search(text, found, number) && std::stoll(found[1]) > count) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

TEST(ServeProgram, EndsWellWhileRequestsOfEveryKindAreUnderWay) {
  const ServeFolder folder;
  const WebServer deaf([](WebClient& client) { client.wait(60'000); });
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();

  // A webhook that does not answer, and a job that is worked on.
  const std::string hook = "?fal_webhook=" + deaf.url("/deaf");
  ASSERT_EQ(server.call("POST", kQueue + hook, "", R"({"prompt": "behave:machine"})").status, 200);
  const Reply job = server.call("POST", kQueue, "", R"({"prompt": "behave:slow"})");
  ASSERT_EQ(job.status, 200) << job.body;
  const std::string id = job.json().value("request_id", "");
  const std::string large(16 << 20, 'x');
  const Reply upload = server.call("POST", "/files/upload", "X-Fal-File-Name: large.bin\r\n", large);
  ASSERT_EQ(upload.status, 200) << upload.body;
  const std::string url = upload.json().value("access_url", "");
  ASSERT_NE(url.find("/files/"), url.npos);

  Open open(server);
  open.send("GET /health HTTP/1.1\r\nHo");
  open.send(head("GET", "/health", ""));                        // idle behind its answer
  open.send(head("GET", url.substr(url.find("/files/")), ""));  // of which nothing is read
  open.send(head("POST", "/files/upload", "Content-Length: 1000000\r\n") + std::string(70'000, 'x'));
  open.send(head("POST", "/files/upload", "Transfer-Encoding: chunked\r\n") + "4\r\nabcd\r\n");
  open.send(head("POST", kQueue, "Content-Length: 200000\r\n") + "{\"prompt\": \"" + std::string(100'000, 'x'));
  open.send(head("GET", kRequests + id + "/status/stream?logs=1", ""));
  open.send(head("GET", "/page/events", ""));
  const std::string body = R"({"prompt": "behave:slow"})";
  open.send(head("POST", kRun, "Content-Length: " + std::to_string(body.size()) + "\r\n") + body);
  ASSERT_TRUE(has_connections(server, open.count())) << server.call("GET", "/metrics").body;
  for (int i = 0; i < 1200 && deaf.requests() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(deaf.requests(), 1);

  server.signal(SIGTERM);
  EXPECT_EQ(server.finish(), 0) << server.err();
  EXPECT_NE(server.err().find("[stop] ended"), std::string::npos) << server.err();
  const std::string told = bytes_of(folder / "worker.log");
  EXPECT_NE(told.find(R"("do": "stop")"), told.npos) << "its worker saves what it has";
}

}  // namespace
}  // namespace wan::serve
