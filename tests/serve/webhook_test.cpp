// Webhooks are told once their jobs have ended, also after failures and restarts.
#include "engine/serve/api/webhooks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "tests/serve/gated_store.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"
#include "tests/support/web_server.h"

namespace wan::serve {
namespace {

using namespace std::chrono_literals;

WebhookOptions quick() {
  WebhookOptions options;
  options.sending.whole = 30s;
  options.first_pause = 1ms, options.longest_pause = 5ms;
  return options;
}

/// Jobs in a folder, and who tells of their ends.
struct Place {
  explicit Place(const std::filesystem::path& file, WebhookOptions options = quick())
      : jobs(io, std::make_unique<GatedStore>(open_sqlite(file), gate), [](const std::string&) {}),
        hooks(
            io, jobs, options, [](const Job& job) { return "{\"id\":\"" + job.id + "\"}"; },
            [this](const std::string& line) { told.push_back(line); }) {
    jobs.on_end = [this](const JobPtr& job) { hooks.ended(job); };
  }

  /// The id of a job that has ended.
  std::string ended_job(const std::string& webhook) {
    Job job = a_job();
    job.webhook = webhook, job.webhook_form = "fal";
    const JobPtr live = on_io(io, jobs.submit(std::move(job)));
    jobs.done(live, {.file = "x.mp4", .bytes = 1, .seed = 1, .prompt = "", .seconds = 1});
    return live->job.id;
  }

  std::vector<PutHook> stored() {
    std::function<std::vector<PutHook>(Store&)> question = [](Store& store) { return store.hooks(); };
    return on_io(io, jobs.ask<std::vector<PutHook>>(std::move(question)));
  }

  boost::asio::io_context io;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::vector<std::string> told;
  Jobs jobs;
  Webhooks hooks;
};

TEST(Webhooks, AreToldWhenTheirJobHasEnded) {
  const QueueFolder folder;
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", ""); });
  Place place(folder.file());
  place.ended_job("");
  place.ended_job(server.url("/hook"));
  ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().sent == 1; }));
  EXPECT_EQ(server.requests(), 1);
  EXPECT_TRUE(run_until(place.io, [&] { return place.stored().empty(); }));
  EXPECT_EQ(place.hooks.counts().waiting, 0u);
  EXPECT_TRUE(place.told.empty());
}

TEST(Webhooks, AreTriedAgainAndGivenUpInTheEnd) {
  const QueueFolder folder;
  std::atomic<int> bad = 3;
  const WebServer better([&](WebClient& client) { client.answer(bad-- > 0 ? "500 Error" : "200 OK", "", ""); });
  const WebServer worse([](WebClient& client) { client.answer("404 Not Found", "", ""); });
  WebhookOptions options = quick();
  options.most_tries = 4;
  Place place(folder.file(), options);
  place.ended_job(better.url("/a?token=secret"));
  place.ended_job(worse.url("/b"));
  ASSERT_TRUE(run_until(place.io, [&] {
    const Webhooks::Counts counts = place.hooks.counts();
    return counts.sent == 1 && counts.given_up == 1;
  }));
  EXPECT_EQ(place.hooks.counts().waiting, 0u);
  EXPECT_EQ(place.hooks.counts().failed_tries, 3u + 4u);
  EXPECT_EQ(better.requests(), 4);
  EXPECT_EQ(worse.requests(), 4);
  EXPECT_TRUE(run_until(place.io, [&] { return place.stored().empty(); }));
  for (const std::string& line : place.told) EXPECT_EQ(line.find("secret"), std::string::npos) << line;
  EXPECT_EQ(std::count_if(place.told.begin(), place.told.end(),
                          [](const std::string& line) { return line.find("given up") != line.npos; }),
            1);
}

TEST(Webhooks, GoOnAfterARestartWhereTheyWere) {
  const QueueFolder folder;
  std::atomic<bool> is_up = false;
  const WebServer server([&](WebClient& client) { client.answer(is_up ? "200 OK" : "503 Busy", "", ""); });
  WebhookOptions options = quick();
  options.longest_pause = options.first_pause = 60s;
  std::string id;
  {
    Place place(folder.file(), options);
    id = place.ended_job(server.url("/"));
    ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().failed_tries == 1; }));
    ASSERT_TRUE(run_until(place.io, [&] { return place.stored().at(0).tries == 1; }));
  }
  is_up = true;
  {
    // The second process waits for no longer than it may.
    Place place(folder.file());
    on_io(place.io, place.hooks.start());
    ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().sent == 1; }));
    EXPECT_TRUE(run_until(place.io, [&] { return place.stored().empty(); }));
  }
  EXPECT_EQ(server.requests(), 2);
}

TEST(Webhooks, OneHostThatHangsHoldsUpNoOther) {
  const QueueFolder folder;
  const WebServer silent([](WebClient& client) { client.wait(60'000); });
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", ""); });
  WebhookOptions options = quick();
  options.most_at_once = 3, options.most_of_a_host = 2;
  Place place(folder.file(), options);
  for (int i = 0; i < 10; ++i) place.ended_job(silent.url("/"));
  for (int i = 0; i < 5; ++i) place.ended_job(server.url("/"));
  ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().sent == 5; }));
  EXPECT_LE(silent.requests(), 2);
  EXPECT_EQ(place.hooks.counts().waiting, 10u);
}

TEST(Webhooks, OfRemovedJobsHoldUpNoneBehindThem) {
  const QueueFolder folder;
  std::atomic<bool> is_open = false;
  const WebServer server([&](WebClient& client) {
    while (!is_open)
      if (!client.wait(10)) return;
    client.answer("200 OK", "", "");
  });
  WebhookOptions options = quick();
  options.most_of_a_host = 1;
  Place place(folder.file(), options);
  place.ended_job(server.url("/first"));
  ASSERT_TRUE(run_until(place.io, [&] { return server.requests() == 1; }));
  const std::string gone = place.ended_job(server.url("/gone"));
  ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().waiting == 2; }));
  place.ended_job(server.url("/last"));
  ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().waiting == 3; }));
  run_for(place.io, 50ms);  // both lie behind the first
  EXPECT_TRUE(on_io(place.io, place.jobs.remove(gone, std::nullopt)));
  is_open = true;
  EXPECT_TRUE(run_until(place.io, [&] { return place.hooks.counts().sent == 2; }));
  EXPECT_EQ(place.hooks.counts().waiting, 0u);
}

TEST(Webhooks, AreAskedOfTheStoreUntilItAnswers) {
  const QueueFolder folder;
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", ""); });
  {
    Place place(folder.file());
    place.hooks.stop();
    place.ended_job(server.url("/"));
  }
  Place place(folder.file());
  place.gate->refused_questions = 3;
  on_io(place.io, place.hooks.start());
  EXPECT_TRUE(run_until(place.io, [&] { return place.hooks.counts().sent == 1; }));
  EXPECT_EQ(place.told.size(), 1u) << "it is told once";
}

TEST(Webhooks, OfRemovedJobsAreForgotten) {
  const QueueFolder folder;
  const WebServer server([](WebClient& client) { client.answer("503 Busy", "", ""); });
  Place place(folder.file());
  const std::string id = place.ended_job(server.url("/"));
  ASSERT_TRUE(run_until(place.io, [&] { return place.hooks.counts().failed_tries > 0; }));
  EXPECT_TRUE(on_io(place.io, place.jobs.remove(id, std::nullopt)));
  EXPECT_TRUE(run_until(place.io, [&] { return place.hooks.counts().waiting == 0; }));
  EXPECT_TRUE(run_until(place.io, [&] { return place.stored().empty(); }));
  EXPECT_EQ(place.hooks.counts().sent, 0u);
}

}  // namespace
}  // namespace wan::serve
