#include "engine/serve/net/router.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>

#include "engine/serve/net/target.h"

namespace wan::serve {
namespace {

class FakeExchange final : public Exchange {
 public:
  FakeExchange(std::string method, const std::string& target)
      : method_(std::move(method)), target_(parse_target(method_, target)) {}
  const std::string& method() const override { return method_; }
  const std::string& path() const override { return target_.path; }
  const std::vector<std::string>& segments() const override { return target_.segments; }
  const std::map<std::string, std::string>& query() const override { return target_.query; }
  std::optional<std::string_view> header(std::string_view) const override { return {}; }
  std::string base_url() const override { return {}; }
  std::string peer() const override { return {}; }
  bool peer_is_loopback() const override { return true; }
  bool is_tls() const override { return false; }
  std::optional<uint64_t> content_length() const override { return 0; }
  Awaitable<std::string> read_body(uint64_t, Admit) override { co_return ""; }
  Awaitable<uint64_t> save_body(const std::filesystem::path&, uint64_t) override { co_return 0; }
  Awaitable<void> gone() override { co_return; }

 private:
  std::string method_;
  Target target_;
};

/// Answers with its name and what was captured: "status: id=7 model=a/b".
RouteHandler named(const std::string& name) {
  return [name](Exchange&, const Captures& captures) -> Awaitable<Answer> {
    std::string text = name + ":";
    for (const auto& [key, value] : captures) text.append(" ").append(key).append("=").append(value);
    co_return Answer{.body = text};
  };
}

Router routes() {
  Router router;
  router.add("GET", "/queue/{model...}/requests/{id}/status", named("status"));
  router.add("GET", "/queue/{model...}/requests/{id}", named("result"));
  router.add("PUT", "/queue/{model...}/requests/{id}/cancel", named("cancel"));
  router.add("POST", "/queue/{model...}", named("submit"));
  router.add("GET", "/files/{name}", named("file"));
  router.add("GET", "/health", named("health"));
  router.add("OPTIONS", "/health", named("options"));
  router.add("POST", "/{model...}", named("run"));
  return router;
}

Answer ask(const Router& router, const std::string& method, const std::string& target) {
  boost::asio::io_context io;
  FakeExchange exchange(method, target);
  Answer answer;
  boost::asio::co_spawn(io, router.answer(exchange), [&](std::exception_ptr failure, Answer got) {
    ASSERT_FALSE(failure);
    answer = std::move(got);
  });
  io.run();
  return answer;
}

std::string header(const Answer& answer, const std::string& name) {
  for (const auto& [key, value] : answer.headers) {
    if (key == name) return value;
  }
  return {};
}

TEST(NetRouter, FindsTheHandlerAndWhatStoodAtTheNames) {
  const Router router = routes();
  EXPECT_EQ(ask(router, "GET", "/queue/fal-ai/wan/requests/7/status").body, "status: id=7 model=fal-ai/wan");
  EXPECT_EQ(ask(router, "GET", "/queue/fal-ai/wan/v2.2-a14b/text-to-video/requests/7").body,
            "result: id=7 model=fal-ai/wan/v2.2-a14b/text-to-video");
  EXPECT_EQ(ask(router, "PUT", "/queue/a/b/requests/7/cancel").body, "cancel: id=7 model=a/b");
  EXPECT_EQ(ask(router, "POST", "/queue/a/b").body, "submit: model=a/b");
  EXPECT_EQ(ask(router, "POST", "/a/b").body, "run: model=a/b");
  EXPECT_EQ(ask(router, "GET", "/files/a%2Fb").body, "file: name=a/b");
}

TEST(NetRouter, ComparesFixedSegmentsWithoutCaseAndIgnoresASlashAtTheEnd) {
  const Router router = routes();
  EXPECT_EQ(ask(router, "GET", "/QUEUE/a/Requests/X/status/").body, "status: id=X model=a");
  EXPECT_EQ(ask(router, "GET", "/Health/").body, "health:");
}

TEST(NetRouter, TakesAsFewSegmentsAsPossibleForMany) {
  const Router router = routes();
  EXPECT_EQ(ask(router, "GET", "/queue/a/requests/b/requests/c").body, "result: id=c model=a/requests/b");
  Router tail;
  tail.add("GET", "/{first...}/{rest...}", named("x"));
  EXPECT_EQ(ask(tail, "GET", "/a/b/c").body, "x: first=a rest=b/c");
}

TEST(NetRouter, AnswersWhatNoRouteTakes) {
  const Router router = routes();
  const Answer unknown = ask(router, "GET", "/nothing/here/at/all?x=1");
  EXPECT_EQ(unknown.status, 405);  // POST /{model...} fits
  EXPECT_EQ(header(unknown, "Allow"), "OPTIONS, POST");
  const Answer root = ask(router, "GET", "/");
  EXPECT_EQ(root.status, 404);
  EXPECT_EQ(root.body, R"({"detail":"Not Found"})");
  EXPECT_EQ(ask(router, "POST", "/queue//b").status, 404) << "an empty segment has no name";
  const Answer method = ask(router, "BREW", "/files/x");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(header(method, "Allow"), "GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(method.body, R"({"detail":"Method Not Allowed"})");
  std::string deep;
  for (int i = 0; i < 20000; ++i) deep += "/a";
  EXPECT_EQ(ask(router, "POST", deep).status, 404);
}

TEST(NetRouter, ARouteForAnyMethodTakesTheRest) {
  Router router;
  router.add("*", "/proxy", named("any"));
  router.add("GET", "/proxy", named("get"));
  router.add("*", "/{name}", named("later"));
  for (const char* method : {"POST", "DELETE", "PATCH", "OPTIONS", "BREW"})
    EXPECT_EQ(ask(router, method, "/proxy").body, "any:");
  EXPECT_EQ(ask(router, "GET", "/proxy").body, "get:");
  EXPECT_EQ(ask(router, "HEAD", "/proxy").body, "get:");
  EXPECT_EQ(ask(router, "GET", "/other").body, "later: name=other");
  EXPECT_EQ(ask(router, "DELETE", "/").status, 404);
}

TEST(NetRouter, RunsGetForHeadAndAnswersOptionsItself) {
  const Router router = routes();
  EXPECT_EQ(ask(router, "HEAD", "/health").body, "health:");
  EXPECT_EQ(ask(router, "OPTIONS", "/health").body, "options:");
  const Answer options = ask(router, "OPTIONS", "/files/x");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.body, "");
  EXPECT_EQ(header(options, "Allow"), "GET, HEAD, OPTIONS, POST");
}

}  // namespace
}  // namespace wan::serve
